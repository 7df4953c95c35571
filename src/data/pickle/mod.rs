//! Python pickles read as data: numbers, texts, lists, dictionaries and numpy arrays of bytes, as protocols 2 to 4 write them.
//!
//! A pickle is a program for a stack machine that may import and call anything. Here an import is a name to compare with five
//! known ones, a call is what numpy's own would have come to, and everything else is refused. Values lie in one list and
//! refer to each other by place: nesting costs no recursion, and a value that is referred to a million times exists once.
//! Opcodes: CPython's `pickletools.py`.

mod machine;

use std::borrow::Cow;
use std::collections::HashMap;

use self::machine::{MAX_NAME, Machine};

/// CIFAR-100's 50,000 records take about 250,000. Each makes one value at most, which bounds the memory.
const MAX_OPCODES: usize = 1 << 20;

/// Why a pickle is refused, to follow the file's name.
type Result<T, E = String> = std::result::Result<T, E>;
/// A value's place in the list of all.
type Place = usize;

#[derive(Debug)]
enum Value<'a> {
    None,
    Bool(bool),
    Integer(i64),
    /// Python 2's and 3's texts and bytes alike.
    Bytes(Cow<'a, [u8]>),
    Tuple(Vec<Place>),
    List(Vec<Place>),
    Dict(Vec<(Place, Place)>),
    Import(Import),
    /// numpy's type of one unsigned byte.
    ByteType,
    /// numpy's array of bytes: its shape and where its bytes are, once they are known.
    Array(Option<(Vec<u64>, Place)>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Import {
    Reconstruct,
    NdArray,
    DType,
    /// `_codecs.encode`, with which Python 3 writes bytes in protocol 2.
    Encode,
}

/// The values of a pickle whose outermost is a dictionary with texts for keys.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    entries: HashMap<Vec<u8>, Place>,
}

impl<'a> Pickle<'a> {
    /// # Errors
    /// What makes `bytes` no such pickle.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut machine = Machine::new(bytes);
        for _ in 0..MAX_OPCODES {
            if let Some(root) = machine.step()? {
                let values = machine.into_values();
                let Value::Dict(pairs) = &values[root] else { return Err("it holds no dictionary".into()) };
                let entry = |&(key, value): &(Place, Place)| match &values[key] {
                    Value::Bytes(key) if key.len() <= MAX_NAME => Ok((key.to_vec(), value)),
                    Value::Bytes(_) => Err("a key of its dictionary is too long".to_string()),
                    _ => Err("a key of its dictionary is no text".to_string()),
                };
                let entries = pairs.iter().map(entry).collect::<Result<_>>()?;
                return Ok(Self { values, entries });
            }
        }
        Err(format!("it has more than {MAX_OPCODES} opcodes"))
    }

    fn list(&self, key: &str) -> Option<impl Iterator<Item = &Value<'a>>> {
        match &self.values[*self.entries.get(key.as_bytes())?] {
            Value::List(places) => Some(places.iter().map(|&place| &self.values[place])),
            _ => None,
        }
    }

    /// The list of integers under a key.
    pub fn integers(&self, key: &str) -> Option<Vec<i64>> {
        let integer = |value: &Value| if let Value::Integer(integer) = value { Some(*integer) } else { None };
        self.list(key)?.map(integer).collect()
    }

    /// The list of texts under a key.
    pub fn texts(&self, key: &str) -> Option<Vec<String>> {
        let text = |value: &Value| match value {
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        };
        self.list(key)?.map(text).collect()
    }

    /// Shape and bytes of the array under a key; there are as many bytes as the shape says.
    pub fn array(&self, key: &str) -> Option<(&[u64], &[u8])> {
        match &self.values[*self.entries.get(key.as_bytes())?] {
            Value::Array(Some((shape, bytes))) => match &self.values[*bytes] {
                Value::Bytes(bytes) => Some((shape, bytes)),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Random};

    /// Python 3.11, numpy 2.4: `pickle.dumps({"n": [3, 300, -1, 70000], "data": np.arange(200, 203, dtype=np.uint8).reshape(1, 3)},
    /// protocol=p)` for p = 2, 3, 4.
    const PROTOCOLS: [&[u8]; 3] = [
        b"\x80\x02}q\0(X\x01\0\0\0nq\x01]q\x02(K\x03M,\x01J\xff\xff\xff\xffJp\x11\x01\0eX\x04\0\0\0dataq\x03cnumpy._core.mul\
          tiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\0\x85q\x06c_codecs\nencode\nq\x07X\x01\0\0\0bq\x08X\x06\0\0\0lati\
          n1q\x09\x86q\nRq\x0b\x87q\x0cRq\x0d(K\x01K\x01K\x03\x86q\x0ecnumpy\ndtype\nq\x0fX\x02\0\0\0u1q\x10\x89\x88\x87q\x11Rq\x12(K\
          \x03X\x01\0\0\0|q\x13NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tq\x14b\x89h\x07X\x06\0\0\0\xc3\x88\xc3\x89\xc3\x8aq\x15h\x09\x86\
          q\x16Rq\x17tq\x18bu.",
        b"\x80\x03}q\0(X\x01\0\0\0nq\x01]q\x02(K\x03M,\x01J\xff\xff\xff\xffJp\x11\x01\0eX\x04\0\0\0dataq\x03cnumpy._core.mul\
          tiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\0\x85q\x06C\x01bq\x07\x87q\x08Rq\x09(K\x01K\x01K\x03\x86q\ncnumpy\
          \ndtype\nq\x0bX\x02\0\0\0u1q\x0c\x89\x88\x87q\x0dRq\x0e(K\x03X\x01\0\0\0|q\x0fNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tq\x10b\
          \x89C\x03\xc8\xc9\xcaq\x11tq\x12bu.",
        b"\x80\x04\x95\xb0\0\0\0\0\0\0\0}\x94(\x8c\x01n\x94]\x94(K\x03M,\x01J\xff\xff\xff\xffJp\x11\x01\0e\x8c\x04data\x94\x8c\x16\
          numpy._core.multiarray\x94\x8c\x0c_reconstruct\x94\x93\x94\x8c\x05numpy\x94\x8c\x07ndarray\x94\x93\x94K\0\x85\x94C\
          \x01b\x94\x87\x94R\x94(K\x01K\x01K\x03\x86\x94h\x07\x8c\x05dtype\x94\x93\x94\x8c\x02u1\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01|\
          \x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0t\x94b\x89C\x03\xc8\xc9\xca\x94t\x94bu.",
    ];

    #[test]
    fn what_python_3_writes_is_read() {
        for bytes in PROTOCOLS {
            let pickle = Pickle::read(bytes).unwrap();
            assert_eq!(pickle.integers("n").unwrap(), [3, 300, -1, 70_000]);
            assert_eq!(pickle.array("data").unwrap(), (&[1, 3][..], &[200, 201, 202][..]));
            assert!(pickle.integers("data").is_none() && pickle.array("n").is_none() && pickle.texts("m").is_none());
        }
    }

    fn problem(bytes: &[u8]) -> String {
        Pickle::read(bytes).unwrap_err()
    }

    #[test]
    fn an_import_is_refused_by_name() {
        for bytes in [
            &b"cos\nsystem\n(S'true'\ntR."[..],
            b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.",
            b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        ] {
            assert_eq!(problem(bytes), "it imports os.system, expected numpy arrays alone; nothing was run");
        }
        assert!(problem(b"c__builtin__\neval\n.").starts_with("it imports __builtin__.eval,"));
        assert!(problem(b"cnumpy.testing\n\x1b[31m\n.").starts_with("it imports numpy.testing.\\x1b[31m,"));
        // The ways to run something without an import of its own.
        for (bytes, opcode) in [(&b"(ios\nsystem\n."[..], 0x69), (b"(o.", 0x6f), (b"Pid\n.", 0x50), (b")\x81.", 0x81)] {
            assert!(problem(bytes).ends_with(&format!("is opcode 0x{opcode:02x}, which no data needs")));
        }
    }

    #[test]
    fn what_is_no_dictionary_of_arrays_is_refused() {
        for (bytes, message) in [
            (&b""[..], "it is cut short"),
            (b"\x80\x09.", "it is of protocol 9, expected 2 to 4"),
            (b".", "it takes a value that is not there"),
            (b"].", "it holds no dictionary"),
            (b"}]Ns.", "a key of its dictionary is no text"),
            (b"(]", "it is cut short"),
            (b"N(0", "it takes a value that is not there"),
            (b"e", "it takes a mark that is not there"),
            (b"h\x07", "it refers to 7, which is not there"),
            (b"NNa", "it appends to what is no list"),
            (b"}(Nu", "it puts no pairs into no dictionary"),
            (b"NNR", "it calls what is no import"),
            (b"cnumpy\ndtype\nU\x02f8\x85R", "it holds an array of f8, expected u1"),
            (b"cnumpy\nndarray\n)R", "it makes what is no array of bytes"),
            (b"NNb", "an array has an unknown state"),
            (b"\x8a\x09123456789", "it holds an integer of more than 64 bits"),
            (b"T\xff\xff\xff\xff", "it is cut short"),
            (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff", "it is cut short"),
            (b"cno end", "it imports a name without end"),
        ] {
            assert_eq!(problem(bytes), message, "{}", bytes.escape_ascii());
        }
        // One of the shape's sides is 9 where the bytes are for 3.
        let mut lie = PROTOCOLS[1].to_vec();
        let side = lie.windows(3).position(|window| window == b"K\x03\x86").unwrap() + 1;
        lie[side] = 9;
        assert_eq!(problem(&lie), "an array of shape [1, 9] has 3 bytes");
    }

    #[test]
    fn depth_and_loops_cost_nothing() {
        let nested = [&b"}U\x01a"[..], &b"]".repeat(400_000), &b"a".repeat(399_999), b"s."].concat();
        assert!(Pickle::read(&nested).is_ok());
        let itself = b"}q\0U\x01ah\0s.";
        assert!(Pickle::read(itself).unwrap().integers("a").is_none());
        assert_eq!(problem(&b"]".repeat(MAX_OPCODES + 1)), "it has more than 1048576 opcodes");
        // A long tuple as arguments and as a shape, which each use of it would copy.
        let long = [&b"(cnumpy\nndarray\n"[..], &b"N".repeat(64), b"tq\0"].concat();
        let call = [&long[..], b"0cnumpy.core.multiarray\n_reconstruct\nh\0R"].concat();
        assert_eq!(problem(&call), "it makes what is no array of bytes");
        let mut array = PROTOCOLS[1].to_vec();
        let shape = array.windows(5).position(|window| window == b"K\x01K\x03\x86").unwrap();
        array.splice(shape..shape + 5, [&b"("[..], &b"K\x01".repeat(64), b"K\x03t"].concat());
        assert_eq!(problem(&array), "an array has 65 dimensions");
        // One text, decoded again and again.
        let text = [&b"X\xe8\x03\0\0"[..], &[b'a'; 1000], b"q\x01"].concat();
        let once = b"h\0h\x01h\x02\x86R0";
        let many = [&b"c_codecs\nencode\nq\0"[..], &text, b"X\x06\0\0\0latin1q\x02", &once.repeat(9)].concat();
        assert_eq!(problem(&many), "it decodes more text than it holds");
    }

    #[test]
    fn no_mutation_of_a_pickle_is_too_much() {
        let mut random = Random::new(0, Purpose::Test, 0);
        for _ in 0..20_000 {
            let mut bytes = PROTOCOLS[random.below(3) as usize].to_vec();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len() as u32) as usize;
                match random.below(3) {
                    0 => bytes[at] = random.bits() as u8,
                    1 => drop(bytes.drain(at..(at + random.below(8) as usize).min(bytes.len() - 1).max(at))),
                    _ => bytes.insert(at, random.bits() as u8),
                }
            }
            Pickle::read(&bytes).ok();
        }
    }
}
