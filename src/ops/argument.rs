//! Operands as an op declares them, and as the reference receives them.

/// What an op does with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    /// Overwritten; what was there before does not matter.
    Write,
    ReadWrite,
}

/// What an operand is made of; both have 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F32,
    U32,
}

/// One operand: its name is the shader's binding and the reference's argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    pub name: &'static str,
    pub access: Access,
    pub element: Element,
    pub length: usize,
}

impl Operand {
    pub fn read(name: &'static str, length: usize) -> Self {
        Self { name, access: Access::Read, element: Element::F32, length }
    }

    pub fn write(name: &'static str, length: usize) -> Self {
        Self { name, access: Access::Write, element: Element::F32, length }
    }

    pub fn read_write(name: &'static str, length: usize) -> Self {
        Self { name, access: Access::ReadWrite, element: Element::F32, length }
    }

    /// The same operand made of u32.
    pub fn of_u32(self) -> Self {
        Self { element: Element::U32, ..self }
    }
}

/// An operand's values on the CPU. What is f32 on the GPU is f64 here.
#[derive(Debug)]
pub enum Argument<'a> {
    F64(&'a [f64]),
    F64Mut(&'a mut [f64]),
    U32(&'a [u32]),
    U32Mut(&'a mut [u32]),
}

/// The values of an op's operands, in order.
#[derive(Debug)]
pub struct Arguments<'a>(pub Vec<Argument<'a>>);

impl<'a> Arguments<'a> {
    /// All of them at once.
    ///
    /// # Panics
    /// When there are not `N`: the caller did not follow `Op::operands`.
    pub fn take<const N: usize>(self) -> [Argument<'a>; N] {
        self.0.try_into().unwrap_or_else(|all: Vec<_>| panic!("{} arguments, expected {N}", all.len()))
    }
}

impl<'a> Argument<'a> {
    pub fn f64(self) -> &'a [f64] {
        match self {
            Self::F64(values) => values,
            other => panic!("{other:?} where an f64 input was expected"),
        }
    }

    pub fn f64_mut(self) -> &'a mut [f64] {
        match self {
            Self::F64Mut(values) => values,
            other => panic!("{other:?} where an f64 output was expected"),
        }
    }

    pub fn u32(self) -> &'a [u32] {
        match self {
            Self::U32(values) => values,
            other => panic!("{other:?} where a u32 input was expected"),
        }
    }

    pub fn u32_mut(self) -> &'a mut [u32] {
        match self {
            Self::U32Mut(values) => values,
            other => panic!("{other:?} where a u32 output was expected"),
        }
    }
}
