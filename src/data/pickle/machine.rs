//! The stack machine that a pickle is written for, with nothing on it that acts.

use std::collections::HashMap;

use super::{Import, Place, Result, Value};

/// Longest module or name that is read.
pub(super) const MAX_NAME: usize = 256;
/// Most dimensions of an array, numpy's own limit; and arguments of a call.
const MAX_DIMENSIONS: usize = 64;

/// The stack machine.
pub(super) struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    /// Bytes of text decoded so far.
    decoded: usize,
    stack: Vec<Place>,
    /// Heights of the stack at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Place>,
}

impl<'a> Machine<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            at: 0,
            values: Vec::new(),
            decoded: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    pub fn into_values(self) -> Vec<Value<'a>> {
        self.values
    }

    /// Runs one opcode; the outermost value when it was the last.
    pub fn step(&mut self) -> Result<Option<Place>> {
        let start = self.at;
        let [opcode] = self.array()?;
        match opcode {
            b'.' => return self.pop().map(Some),
            0x80 => match self.array()? {
                [0..=5] => {}
                [version] => return Err(format!("it is of protocol {version}, expected 2 to 4")),
            },
            // FRAME says how much may be read ahead.
            0x95 => drop(self.array::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => {
                let integer = i32::from_le_bytes(self.array()?);
                self.push(Value::Integer(integer.into()));
            }
            b'K' | b'M' | 0x8a => {
                let integer = match opcode {
                    b'K' => self.length::<1>()? as i64,
                    b'M' => self.length::<2>()? as i64,
                    _ => self.long()?,
                };
                self.push(Value::Integer(integer));
            }
            b'U' | b'C' | 0x8c => self.text::<1>()?,
            b'T' | b'X' | b'B' => self.text::<4>()?,
            0x8e => self.text::<8>()?,
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b')' => self.push(Value::Tuple(Vec::new())),
            b'a' => {
                let item = self.pop()?;
                self.extend_list(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.extend_list(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.extend_dict(vec![key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.extend_dict(items)?;
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items));
            }
            0x85..=0x87 => {
                let mut items = (0x84..opcode).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
                items.reverse();
                self.push(Value::Tuple(items));
            }
            b'q' | b'r' => {
                let key = if opcode == b'q' { self.length::<1>()? } else { self.length::<4>()? };
                self.memo.insert(key as u32, self.top()?);
            }
            0x94 => {
                self.memo.insert(self.memo.len() as u32, self.top()?);
            }
            b'h' | b'j' => {
                let key = if opcode == b'h' { self.length::<1>()? } else { self.length::<4>()? };
                let place =
                    self.memo.get(&(key as u32)).ok_or_else(|| format!("it refers to {key}, which is not there"))?;
                self.stack.push(*place);
            }
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.import(module, name)?;
            }
            0x93 => {
                let name = self.pop_text()?;
                let module = self.pop_text()?;
                self.import(&module, &name)?;
            }
            b'R' => self.call()?,
            b'b' => self.build()?,
            _ => return Err(format!("byte {start} is opcode 0x{opcode:02x}, which no data needs")),
        }
        Ok(None)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let bytes = self.input[self.at..].get(..length).ok_or("it is cut short")?;
        self.at += length;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        Ok(std::array::from_fn(|i| bytes[i]))
    }

    /// An unsigned number of `N` bytes.
    fn length<const N: usize>(&mut self) -> Result<u64> {
        Ok(self.array::<N>()?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// LONG1: a length, then as many bytes of a signed number.
    fn long(&mut self) -> Result<i64> {
        let length = self.length::<1>()? as usize;
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|&last| last >= 0x80);
        let mut whole = if negative { [0xff; 8] } else { [0; 8] };
        whole.get_mut(..length).ok_or("it holds an integer of more than 64 bits")?.copy_from_slice(bytes);
        Ok(i64::from_le_bytes(whole))
    }

    /// A text or bytes behind their length in `N` bytes.
    fn text<const N: usize>(&mut self) -> Result<()> {
        let length = self.length::<N>()?;
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        self.push(Value::Bytes(bytes.into()));
        Ok(())
    }

    fn line(&mut self) -> Result<&'a [u8]> {
        let ahead = &self.input[self.at..];
        let end = ahead.iter().take(MAX_NAME).position(|&byte| byte == b'\n').ok_or("it imports a name without end")?;
        self.at += end + 1;
        Ok(&ahead[..end])
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn top(&self) -> Result<Place> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..].last().copied().ok_or_else(|| "it takes a value that is not there".into())
    }

    fn pop(&mut self) -> Result<Place> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Place>> {
        let mark = self.marks.pop().ok_or("it takes a mark that is not there")?;
        Ok(self.stack.split_off(mark))
    }

    fn pop_text(&mut self) -> Result<Vec<u8>> {
        let place = self.pop()?;
        match &self.values[place] {
            Value::Bytes(bytes) => Ok(bytes.to_vec()),
            _ => Err("it imports what is no name".into()),
        }
    }

    fn extend_list(&mut self, items: Vec<Place>) -> Result<()> {
        let place = self.top()?;
        match &mut self.values[place] {
            Value::List(list) => list.extend(items),
            _ => return Err("it appends to what is no list".into()),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: Vec<Place>) -> Result<()> {
        let place = self.top()?;
        match &mut self.values[place] {
            Value::Dict(pairs) if items.len().is_multiple_of(2) => {
                pairs.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => return Err("it puts no pairs into no dictionary".into()),
        }
        Ok(())
    }

    fn import(&mut self, module: &[u8], name: &[u8]) -> Result<()> {
        let import = match (module, name) {
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => Import::Reconstruct,
            (b"numpy", b"ndarray") => Import::NdArray,
            (b"numpy", b"dtype") => Import::DType,
            (b"_codecs", b"encode") => Import::Encode,
            _ => {
                let [module, name] = [module, name].map(|text| text[..text.len().min(MAX_NAME)].escape_ascii());
                return Err(format!("it imports {module}.{name}, expected numpy arrays alone; nothing was run"));
            }
        };
        self.push(Value::Import(import));
        Ok(())
    }

    /// REDUCE: a callable and its arguments.
    fn call(&mut self) -> Result<()> {
        let arguments = self.pop()?;
        let callable = self.pop()?;
        let (Value::Import(import), Value::Tuple(arguments)) = (&self.values[callable], &self.values[arguments]) else {
            return Err("it calls what is no import".into());
        };
        // A long tuple may be referred to any number of times.
        if arguments.len() > MAX_DIMENSIONS {
            return Err("it makes what is no array of bytes".into());
        }
        let arguments: Vec<&Value> = arguments.iter().map(|&place| &self.values[place]).collect();
        let value = match (import, arguments.as_slice()) {
            (Import::Reconstruct, [Value::Import(Import::NdArray), ..]) => Value::Array(None),
            (Import::DType, [Value::Bytes(name), ..]) if matches!(&**name, b"u1" | b"|u1") => Value::ByteType,
            (Import::DType, [Value::Bytes(name), ..]) => {
                return Err(format!("it holds an array of {}, expected u1", name[..name.len().min(8)].escape_ascii()));
            }
            (Import::Encode, [Value::Bytes(text), Value::Bytes(codec)]) if **codec == *b"latin1" => {
                // A text may be referred to any number of times.
                self.decoded += text.len();
                if self.decoded > self.input.len() {
                    return Err("it decodes more text than it holds".into());
                }
                Value::Bytes(latin1(text)?.into())
            }
            _ => return Err("it makes what is no array of bytes".into()),
        };
        self.push(value);
        Ok(())
    }

    /// BUILD: a value and its state; an array's is (version, shape, type, whether columns come first, bytes).
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let target = self.top()?;
        if matches!(self.values[target], Value::ByteType) {
            // Byte order and flags, which change nothing for single bytes.
            return Ok(());
        }
        let state = match &self.values[state] {
            Value::Tuple(state) => state.as_slice(),
            _ => &[],
        };
        let &[_, shape, kind, columns_first, bytes] = state else { return Err("an array has an unknown state".into()) };
        let of = |place: Place| &self.values[place];
        let (Value::Tuple(shape), Value::ByteType, Value::Bool(false), Value::Bytes(values)) =
            (of(shape), of(kind), of(columns_first), of(bytes))
        else {
            return Err("an array is not of bytes, row by row".into());
        };
        if shape.len() > MAX_DIMENSIONS {
            return Err(format!("an array has {} dimensions", shape.len()));
        }
        let side = |&place: &Place| match of(place) {
            Value::Integer(side) => u64::try_from(*side).ok(),
            _ => None,
        };
        let shape = shape.iter().map(side).collect::<Option<Vec<u64>>>().ok_or("an array has no shape")?;
        let length = shape.iter().try_fold(1u64, |length, &side| length.checked_mul(side));
        if length != Some(values.len() as u64) {
            return Err(format!("an array of shape {shape:?} has {} bytes", values.len()));
        }
        match &mut self.values[target] {
            Value::Array(array) => *array = Some((shape, bytes)),
            _ => return Err("it builds what is no array".into()),
        }
        Ok(())
    }
}

/// The bytes that a UTF-8 text of characters up to U+00FF stands for.
fn latin1(text: &[u8]) -> Result<Vec<u8>> {
    let refuse = || "its bytes are no latin1 text".to_string();
    let text = std::str::from_utf8(text).map_err(|_| refuse())?;
    text.chars().map(|character| u8::try_from(u32::from(character)).map_err(|_| refuse())).collect()
}
