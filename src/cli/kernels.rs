//! `shadegrad kernels`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use shadegrad::cases::{self, Case};
use shadegrad::gpu::{COMMON, Constant, Reflection};
use shadegrad::ops::contract::{Contract, wgsl_space, wgsl_type};
use shadegrad::ops::{Access, PLAIN};
use shadegrad::{Error, Result};

use super::print::say;
use super::table::{Align, lines};

/// Every op, its contract, and a starter .wgsl for a kernel of your own.
#[derive(Args)]
#[command(after_help = "Examples:\n  shadegrad kernels\n  shadegrad kernels matmul\n  \
                        shadegrad kernels matmul --template mine.wgsl")]
pub struct KernelsArgs {
    /// Print the contract of this op
    op: Option<String>,
    /// Write a working kernel to start from
    #[arg(long, value_name = "FILE.wgsl", requires = "op")]
    template: Option<PathBuf>,
}

pub fn run(arguments: &KernelsArgs) -> Result<()> {
    let Some(name) = &arguments.op else {
        list();
        return Ok(());
    };
    let case = example(name)?;
    match &arguments.template {
        None => contract(&case),
        Some(path) => template(&case, path),
    }
}

/// A case of an op, for its names and sizes.
///
/// # Errors
/// An op that there is not, with the list of those there are.
pub fn example(name: &str) -> Result<Case> {
    by_name().remove(name).ok_or_else(|| cases::unknown_op(name))
}

fn by_name() -> BTreeMap<&'static str, Case> {
    let mut first = BTreeMap::new();
    for case in cases::all() {
        first.entry(case.op.name()).or_insert(case);
    }
    first
}

fn list() {
    let mut rows = vec![["op", "variants", "reads", "writes"].map(String::from).to_vec()];
    for (name, case) in by_name() {
        let operands = case.op.operands();
        let named = |read: bool| {
            let wanted = operands.iter().filter(|operand| (operand.access == Access::Read) == read);
            wanted.map(|operand| operand.name).collect::<Vec<_>>().join(", ")
        };
        rows.push(vec![name.into(), case.op.variants().join(", "), named(true), named(false)]);
    }
    lines(&[Align::Left; 4], &rows).iter().for_each(say);
    say("\n`shadegrad kernels OP` prints what a kernel of yours is given and has to do.");
}

/// The comment that a shader file begins with.
fn description(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| line.starts_with("//"))
        .map(|line| line.trim_start_matches('/').strip_prefix(' ').unwrap_or(""))
}

fn contract(case: &Case) -> Result<()> {
    let contract = Contract::of(&*case.op)?;
    let lowering = case.op.lower(PLAIN)?;
    say(format!("{}\n", contract.op));
    if let Some(dispatch) = lowering.dispatches.first() {
        description(dispatch.shader.file()).for_each(say);
    }

    say("\nbindings: @group(0), found by name, under any binding number; at most 7 of them");
    let rows: Vec<_> = contract
        .operands
        .iter()
        .map(|operand| {
            let use_of_it = match operand.access {
                Access::Read => "input",
                Access::Write => "output: every element has to be written, nothing else",
                Access::ReadWrite => "updated in place",
            };
            let declaration = format!("var<{}> {}: {};", wgsl_space(operand), operand.name, wgsl_type(operand));
            vec![format!("  {declaration}"), use_of_it.into()]
        })
        .collect();
    lines(&[Align::Left; 2], &rows).iter().for_each(say);

    say("\nparams: one uniform struct under any name, with any of these fields, found by name");
    let fields: Vec<_> = contract.fields.iter().map(|field| format!("{}: {}", field.name, field.kind)).collect();
    say(format!("  {}", fields.join(", ")));
    if contract.field("slices").is_some() {
        say(
            "  slices is 1 and slice_length is past the end: your kernel owns whole sums, ours may be given parts of long ones",
        );
    }

    let tiles: Vec<_> = contract.axes.iter().map(|(axis, _)| format!("TILE_{axis}")).collect();
    let product: Vec<_> = contract.axes.iter().map(|(axis, _)| format!("ceil({axis} / TILE_{axis})")).collect();
    say("\ngrid: which outputs a workgroup owns");
    say(format!(
        "  declare any of {} as a const or an override, with its type: a workgroup owns a tile of that many outputs;",
        tiles.join(", ")
    ));
    say(format!("  {} workgroups are launched; what you do not declare counts as 1", product.join(" · ")));
    say("  declare none: one invocation an output, in workgroups of your @workgroup_size");
    say("  the grid is one-dimensional and folds into y past 65,535: take workgroup_index(workgroup, grid) or");
    say("  invocation_index(workgroup, grid, local) of the file that is appended to yours:\n");
    COMMON.lines().map(|line| format!("  {line}")).for_each(say);
    say("\nentry point: called as the op, or the only one in the file");
    say("may be specialised: override constants, which keep the defaults of your file");
    say(format!(
        "\nstart: shadegrad kernels {0} --template mine.wgsl && shadegrad check {0} --shader mine.wgsl",
        contract.op
    ));
    Ok(())
}

fn template(case: &Case, path: &PathBuf) -> Result<()> {
    let lowering = case.op.lower(PLAIN)?;
    let Some(dispatch) = lowering.dispatches.first() else {
        return Err(Error::usage(format!("{} has no kernel of its own", case.op.name())));
    };
    let name = case.op.name();
    let mut text = format!(
        "// A kernel of {name} to start from: shadegrad's own plain one. `shadegrad kernels {name}` prints what it is given.\n\
         //   shadegrad check {name} --shader {0}\n\
         //   shadegrad bench {name} --shader {0}\n//\n",
        path.display()
    );
    text.push_str(&dispatch.shader.text());
    // What is written is what will be read: it has to be whole by itself.
    let reflection = Reflection::new(name, &text)?;
    let workgroup =
        reflection.constants.get("WORKGROUP_SIZE").copied().map_or(0, |constant| Constant::value(constant) as u32);
    std::fs::File::create_new(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(Error::file("write", path))?;
    say(format!(
        "{} is a working {name}, one output an invocation, {workgroup} invocations a workgroup",
        path.display()
    ));
    say(format!("next: shadegrad check {name} --shader {}", path.display()));
    Ok(())
}
