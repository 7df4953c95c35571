//! A WGSL file and those that it is made with.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::reflection::Reflection;
use crate::error::Result;

/// How a line begins that says what a file needs of the language beyond WGSL's core.
const DIRECTIVE: &str = "enable ";

/// A WGSL file of `shaders/` and those that it shares with others, named after them; parsed at its first use.
pub struct Shader {
    pub name: &'static str,
    file: &'static str,
    parts: &'static [Part],
    /// Whether it is one of `shaders/`, which the suite has run between guard bands.
    pub(super) is_ours: bool,
    reflection: OnceLock<Reflection>,
}

/// A file that several shaders are made with.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub name: &'static str,
    pub text: &'static str,
}

impl Shader {
    pub const fn new(name: &'static str, file: &'static str, parts: &'static [Part]) -> Self {
        Self { name, file, parts, is_ours: true, reflection: OnceLock::new() }
    }

    /// A shader from a text that is not compiled in; it and what naga read out of it stay for the rest of the process.
    ///
    /// # Errors
    /// What naga says, with the line.
    pub fn leak(name: &str, file: &str) -> Result<&'static Self> {
        // Kernels are kept by the shader's name: the same file read again may hold something else.
        static READ: AtomicUsize = AtomicUsize::new(0);
        let reflection = OnceLock::from(Reflection::new(name, file)?);
        let name = format!("{name} ({})", READ.fetch_add(1, Ordering::Relaxed)).leak();
        Ok(Box::leak(Box::new(Self { name, file: file.to_string().leak(), parts: &[], is_ours: false, reflection })))
    }

    pub fn reflection(&self) -> &Reflection {
        self.reflection.get_or_init(|| match Reflection::new(self.name, &self.text()) {
            Ok(reflection) => reflection,
            // Not reachable from outside: the file is compiled in, and tests/shaders.rs parses every one.
            Err(error) => panic!("shaders/{}.wgsl: {error}", self.name),
        })
    }

    /// The text of its own file.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// The files that it is made with, common.wgsl left out.
    pub fn parts(&self) -> &'static [Part] {
        self.parts
    }

    /// The text of all its files, without common.wgsl. Directives stand first, as WGSL wants them; else every line of its own file keeps its place.
    pub fn text(&self) -> String {
        let texts = std::iter::once(self.file).chain(self.parts.iter().map(|part| part.text));
        let (mut directives, mut text) = (BTreeSet::new(), String::new());
        for line in texts.flat_map(|text| text.lines().chain([""])) {
            if line.starts_with(DIRECTIVE) {
                directives.insert(line);
            } else {
                text.push_str(line);
            }
            text.push('\n');
        }
        directives.into_iter().collect::<Vec<_>>().join(" ") + &text
    }

    /// A tile size or another count that the file declares.
    pub fn constant(&self, name: &str) -> u32 {
        match self.reflection().constants.get(name) {
            Some(constant) => constant.value() as u32,
            None => panic!("shaders/{}.wgsl declares no {name}", self.name),
        }
    }
}

impl std::fmt::Debug for Shader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shader({})", self.name)
    }
}
