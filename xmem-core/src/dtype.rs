//! The types of a frame's elements, the kinds of memory, and how a mapping may be used.

/// The largest number of dimensions that a frame's shape can have.
pub const MAX_NDIM: usize = 8;

/// The type of one element of a frame.
///
/// The discriminants are part of the shared-memory ABI.
///
/// ```
/// use xmem_core::DType;
///
/// assert_eq!(DType::Float32.size(), 4);
/// assert_eq!(DType::from_name("bfloat16"), Some(DType::BFloat16));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum DType {
    /// `u8`; also bytes without an element type.
    UInt8 = 0,
    /// `i8`
    Int8 = 1,
    /// `u16`
    UInt16 = 2,
    /// `i16`
    Int16 = 3,
    /// `u32`
    UInt32 = 4,
    /// `i32`
    Int32 = 5,
    /// `u64`
    UInt64 = 6,
    /// `i64`
    Int64 = 7,
    /// IEEE 754 binary16; `f16` of the crate `half`
    Float16 = 8,
    /// `f32`
    Float32 = 9,
    /// `f64`
    Float64 = 10,
    /// The upper 16 bits of an `f32`; `bf16` of the crate `half`
    BFloat16 = 11,
    /// One byte, 0 for false and 1 for true. A reader takes any other value for true: read it as `u8`,
    /// with [`Payload::view`](crate::Payload::view).
    Bool = 12,
}

impl DType {
    /// Every type, in the order of its number.
    pub const ALL: &[DType] = &[
        DType::UInt8,
        DType::Int8,
        DType::UInt16,
        DType::Int16,
        DType::UInt32,
        DType::Int32,
        DType::UInt64,
        DType::Int64,
        DType::Float16,
        DType::Float32,
        DType::Float64,
        DType::BFloat16,
        DType::Bool,
    ];

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DType::UInt8 | DType::Int8 | DType::Bool => 1,
            DType::UInt16 | DType::Int16 | DType::Float16 | DType::BFloat16 => 2,
            DType::UInt32 | DType::Int32 | DType::Float32 => 4,
            DType::UInt64 | DType::Int64 | DType::Float64 => 8,
        }
    }

    /// The type with this number in the ABI.
    pub const fn from_u8(number: u8) -> Option<DType> {
        if (number as usize) < Self::ALL.len() {
            Some(Self::ALL[number as usize])
        } else {
            None
        }
    }

    /// The name that NumPy and most tensor libraries give this type, `float32` for example.
    pub const fn name(self) -> &'static str {
        match self {
            DType::UInt8 => "uint8",
            DType::Int8 => "int8",
            DType::UInt16 => "uint16",
            DType::Int16 => "int16",
            DType::UInt32 => "uint32",
            DType::Int32 => "int32",
            DType::UInt64 => "uint64",
            DType::Int64 => "int64",
            DType::Float16 => "float16",
            DType::Float32 => "float32",
            DType::Float64 => "float64",
            DType::BFloat16 => "bfloat16",
            DType::Bool => "bool",
        }
    }

    /// The type with this [name](DType::name).
    pub fn from_name(name: &str) -> Option<DType> {
        let mut all = Self::ALL.iter().copied();
        all.find(|dtype| dtype.name() == name)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The kind of memory that a frame's content is in.
///
/// The discriminants are part of the shared-memory ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum StorageType {
    /// Memory of the machine, mapped by producer and clients.
    Cpu = 0,
    /// Memory of a CUDA device.
    Cuda = 1,
}

impl StorageType {
    /// The storage with this number in the ABI.
    pub const fn from_u8(number: u8) -> Option<StorageType> {
        match number {
            0 => Some(StorageType::Cpu),
            1 => Some(StorageType::Cuda),
            _ => None,
        }
    }
}

impl std::fmt::Display for StorageType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StorageType::Cpu => "CPU",
            StorageType::Cuda => "CUDA",
        })
    }
}

/// How a process may use a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessMode {
    /// The kernel refuses every write: what clients get.
    ReadOnly,
    /// What the producer has.
    ReadWrite,
}

/// A Rust type whose values can be the elements of a frame: the integers of 8 to 64 bits, `f32`, `f64`,
/// and `f16` and `bf16` of the crate [`half`].
///
/// The trait is sealed: any bit pattern must be a value, because the bytes come from another process. So
/// `bool` is none.
pub trait Element: sealed::Element + Copy + Send + Sync + 'static {
    /// The type that a record names for these elements.
    const DTYPE: DType;
}

mod sealed {
    use zerocopy::{FromBytes, Immutable, IntoBytes};

    /// That any bytes are a value, and a value is all bytes, is for zerocopy to say.
    pub trait Element: FromBytes + IntoBytes + Immutable {}
}

macro_rules! element {
    ($($rust:ty => $dtype:ident),*) => {$(
        impl sealed::Element for $rust {}
        impl Element for $rust {
            const DTYPE: DType = DType::$dtype;
        }
    )*};
}
element!(u8 => UInt8, i8 => Int8, u16 => UInt16, i16 => Int16, u32 => UInt32, i32 => Int32,
         u64 => UInt64, i64 => Int64, f32 => Float32, f64 => Float64,
         half::f16 => Float16, half::bf16 => BFloat16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_names_its_type_and_no_other_does() {
        for number in 0..=u8::MAX {
            match DType::from_u8(number) {
                Some(dtype) => {
                    assert_eq!(dtype as u8, number);
                    assert_eq!(DType::from_name(dtype.name()), Some(dtype));
                }
                None => assert!(number as usize >= DType::ALL.len()),
            }
        }
        assert_eq!(StorageType::from_u8(1), Some(StorageType::Cuda));
        assert_eq!(StorageType::from_u8(2), None);
    }
}
