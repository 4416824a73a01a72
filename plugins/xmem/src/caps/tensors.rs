//! The tensors of `other/tensor` and `other/tensors`, NNStreamer's caps. Pure.
//!
//! A buffer of these caps has a memory for each tensor, at most as many as a buffer can have. What
//! they are stands in the caps (`format=static`) or at the beginning of each memory (`flexible`,
//! `sparse`).

use xmem_core::{BufferMeta, DType};

use super::excerpt::excerpt;

/// The element types of `other/tensors`.
const TYPES: [DType; 11] = [
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
];

/// Most tensors that NNStreamer has in a buffer.
const MAX_TENSORS: usize = 256;
/// Most dimensions that NNStreamer has in a tensor.
const MAX_RANK: usize = 16;

/// What a buffer of these caps holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tensors {
    /// The same in all buffers.
    Static(Vec<Tensor>),
    /// Something else in each, or nothing that the caps tell.
    Untold,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    dtype: DType,
    /// Outermost first, without the ones before the first dimension that is more: to NNStreamer
    /// they only fill up the rank, and caps with and without them are the same.
    shape: Vec<u64>,
    size: usize,
}

impl Tensors {
    /// Reads fixed caps; `None` for those of other streams.
    ///
    /// # Errors
    /// A sentence for the user where they contradict themselves or can't be read.
    pub(super) fn from_structure(caps: &gst::StructureRef) -> Result<Option<Tensors>, String> {
        let text = |field: &str| caps.get::<String>(field).ok();
        let (count, dimensions, types) = match caps.name().as_str() {
            "other/tensor" => (Some(1), text("dimension"), text("type")),
            "other/tensors" => {
                let count = caps.get::<i32>("num_tensors").ok();
                let is_static = match text("format") {
                    Some(format) => format.eq_ignore_ascii_case("static"),
                    // Before there were other formats.
                    None => count.is_some(),
                };
                if !is_static {
                    return Ok(Some(Tensors::Untold));
                }
                (count, text("dimensions"), text("types"))
            }
            _ => return Ok(None),
        };
        let (dimensions, types) = match (dimensions, types) {
            (Some(dimensions), Some(types)) => (dimensions, types),
            (None, None) => return Ok(Some(Tensors::Untold)),
            (None, Some(types)) => return Err(excerpt("tensors without dimensions", &types)),
            (Some(dimensions), None) => return Err(excerpt("tensors without types", &dimensions)),
        };
        let dimensions: Vec<_> = parts(&dimensions).collect();
        let types: Vec<_> = parts(&types).collect();
        let counts = [dimensions.len(), types.len()];
        let count = count.map_or(Some(counts[0]), |count| usize::try_from(count).ok());
        if counts.iter().any(|&of| Some(of) != count) || counts[0] > MAX_TENSORS {
            return Err(format!(
                "tensors of which the caps name {} dimensions, {} types and {} as their number \
                 (1 to {MAX_TENSORS})",
                counts[0],
                counts[1],
                count.map_or("nothing".into(), |count| count.to_string())
            ));
        }
        let tensors = dimensions.iter().zip(&types);
        let tensors = tensors.map(|(dimensions, dtype)| Tensor::new(dimensions, dtype));
        let tensors = tensors.collect::<Result<Vec<_>, _>>()?;
        let size = tensors
            .iter()
            .try_fold(0usize, |sum, tensor| sum.checked_add(tensor.size));
        match size {
            Some(size) if isize::try_from(size).is_ok() => Ok(Some(Tensors::Static(tensors))),
            _ => Err(excerpt("tensors too large to be", &dimensions.join(","))),
        }
    }

    /// The bytes of every buffer, where the caps tell.
    pub(super) fn size(&self) -> Option<usize> {
        match self {
            // With more than a buffer has memories, NNStreamer puts a head of its own before the
            // rest.
            Tensors::Static(tensors) if tensors.len() <= most_memories() => Some(sum(tensors)),
            _ => None,
        }
    }

    /// The record of a frame: of one tensor its type and shape. Several are bytes.
    pub(super) fn record(&self, size: usize) -> Option<BufferMeta> {
        match self {
            Tensors::Static(tensors) if let [tensor] = &tensors[..] => {
                let record = BufferMeta::tensor(tensor.dtype, &tensor.shape).ok();
                record.filter(|_| tensor.size == size)
            }
            _ => None,
        }
    }

    /// The sizes of the tensors in a buffer of this size, where the caps tell.
    pub(super) fn sizes(&self, size: usize) -> Option<Vec<usize>> {
        match self {
            Tensors::Static(tensors) if self.size() == Some(size) => {
                Some(tensors.iter().map(|tensor| tensor.size).collect())
            }
            _ => None,
        }
    }

    /// Checks that a buffer whose memories have these sizes can hold such tensors. One without bytes
    /// can: it stands for a gap.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(super) fn check(&self, memories: &[usize]) -> Result<(), String> {
        let Tensors::Static(tensors) = self else {
            return Ok(());
        };
        let (size, needed) = (memories.iter().sum::<usize>(), sum(tensors));
        let fits = match self.size() {
            Some(needed) => size == needed,
            None => size >= needed,
        };
        if size > 0 && !fits {
            return Err(format!(
                "a buffer of {size} bytes does not hold the tensors of its caps, which have \
                 {needed}: {}. Change dimensions and types in the caps, or what fills the buffers",
                names(tensors)
            ));
        }
        // One memory for all of them is cut into theirs; several, but not theirs, are a mistake.
        if memories.len() == tensors.len()
            && let Some(at) = (0..tensors.len()).find(|&at| memories[at] != tensors[at].size)
            && size > 0
        {
            return Err(format!(
                "memory {at} of a buffer has {} bytes and its tensor in the caps {}: {}. They have \
                 to come in the order of the caps",
                memories[at],
                tensors[at].size,
                names(tensors)
            ));
        }
        Ok(())
    }
}

impl Tensor {
    /// Of `3:224:224:1`, innermost first, and `float32`, for example.
    fn new(dimensions: &str, dtype: &str) -> Result<Tensor, String> {
        let unreadable = || {
            excerpt(
                "a tensor whose dimensions are not as in 3:224:224:1, 1 to 16 numbers that are at \
                 least 1",
                dimensions,
            )
        };
        let mut shape = Vec::new();
        for number in dimensions.split(':') {
            let number = match number.trim() {
                // They fill up the rank, at the end.
                "" => 0,
                number if !number.bytes().all(|byte| byte.is_ascii_digit()) => {
                    return Err(unreadable());
                }
                number => number.parse::<u32>().map_err(|_| unreadable())?,
            };
            shape.push(u64::from(number));
            if shape.len() > MAX_RANK {
                return Err(unreadable());
            }
        }
        while shape.last() == Some(&0) {
            shape.pop();
        }
        if shape.is_empty() || shape.contains(&0) {
            return Err(unreadable());
        }
        while shape.len() > 1 && shape.last() == Some(&1) {
            shape.pop();
        }
        shape.reverse();
        let name = dtype.trim();
        let dtype = TYPES
            .into_iter()
            .find(|dtype| dtype.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| {
                let known = TYPES.map(DType::name).join(", ");
                excerpt(&format!("a tensor of a type other than {known}"), name)
            })?;
        let elements = shape
            .iter()
            .try_fold(1usize, |product, &length| {
                product.checked_mul(usize::try_from(length).ok()?)
            })
            .and_then(|elements| elements.checked_mul(dtype.size()));
        match elements {
            Some(size) => Ok(Tensor { dtype, shape, size }),
            None => Err(excerpt("a tensor too large to be", dimensions)),
        }
    }
}

/// The parts of a list, which NNStreamer separates in two ways.
fn parts(list: &str) -> impl Iterator<Item = &str> {
    // One more than there may be, of what may be a very long text.
    list.split([',', '.']).take(MAX_TENSORS + 1)
}

fn sum(tensors: &[Tensor]) -> usize {
    tensors.iter().map(|tensor| tensor.size).sum()
}

/// For a message: the first ones.
fn names(tensors: &[Tensor]) -> String {
    const MOST: usize = 4;
    let name = |tensor: &Tensor| {
        let dimensions = tensor.shape.iter().rev().map(u64::to_string);
        let dimensions = dimensions.collect::<Vec<_>>().join(":");
        format!("{} {dimensions} ({} bytes)", tensor.dtype, tensor.size)
    };
    let mut names: Vec<_> = tensors.iter().take(MOST).map(name).collect();
    if tensors.len() > MOST {
        names.push(format!("{} more", tensors.len() - MOST));
    }
    names.join(", ")
}

/// How many memories a buffer can have.
pub(super) fn most_memories() -> usize {
    gst::BufferRef::max_memory()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(caps: &str) -> Result<Option<Tensors>, String> {
        gst::init().unwrap();
        let caps = caps.parse::<gst::Caps>().unwrap();
        Tensors::from_structure(caps.structure(0).unwrap())
    }

    fn tensors(caps: &str) -> Tensors {
        read(caps).unwrap().unwrap()
    }

    fn of(dimensions: &str, types: &str) -> Result<Option<Tensors>, String> {
        read(&format!(
            "other/tensors,format=static,dimensions=(string)\"{dimensions}\",\
             types=(string)\"{types}\""
        ))
    }

    #[test]
    fn one_tensor_has_its_type_and_its_shape_outermost_first() {
        for caps in [
            "other/tensors,format=static,num_tensors=1,dimensions=(string)4:640:480:2,\
             types=(string)float32,framerate=30/1",
            "other/tensors,num_tensors=1,dimensions=(string)4:640:480:2,types=(string)FLOAT32",
            "other/tensors,format=static,dimensions=(string)4:640:480:2,types=(string)float32",
            "other/tensor,dimension=(string)4:640:480:2,type=(string)float32",
        ] {
            let tensors = tensors(caps);
            let size = 4 * 640 * 480 * 2 * 4;
            assert_eq!(tensors.size(), Some(size));
            let record = tensors.record(size).unwrap();
            assert_eq!(record.dtype(), DType::Float32);
            assert_eq!(record.shape(), [2, 480, 640, 4]);
            assert_eq!(record.strides(), [4915200, 10240, 16, 4]);
            assert_eq!(record.size(), size as u64);
            assert!(tensors.record(size - 1).is_none());
        }
    }

    #[test]
    fn every_type_of_nnstreamers_is_known() {
        for (name, size) in [
            ("int32", 4),
            ("uint32", 4),
            ("int16", 2),
            ("uint16", 2),
            ("int8", 1),
            ("uint8", 1),
            ("float64", 8),
            ("float32", 4),
            ("int64", 8),
            ("uint64", 8),
            ("float16", 2),
        ] {
            let tensors = of("3:5", name).unwrap().unwrap();
            let record = tensors.record(15 * size).unwrap();
            assert_eq!(record.dtype().name(), name);
        }
    }

    #[test]
    fn what_fills_up_the_rank_is_no_dimension() {
        let shape = |dimensions: &str| {
            let tensors = of(dimensions, "uint8").unwrap().unwrap();
            tensors
                .record(tensors.size().unwrap())
                .map(|record| record.shape().to_vec())
        };
        for same in [
            "10", "10:1", "10:1:1:1", "10:0:0:0", "10:", " 10 : 1 ", "10:1:0",
        ] {
            assert_eq!(shape(same), Some(vec![10]), "{same:?}");
        }
        assert_eq!(shape("1:1:1"), Some(vec![1]));
        assert_eq!(shape("1:10:1"), Some(vec![10, 1]));
        assert_eq!(shape(&format!("7{}", ":1".repeat(15))), Some(vec![7]));
        // More than a record has are bytes.
        assert_eq!(shape("2:2:2:2:2:2:2:2:1"), Some(vec![2; 8]));
        assert_eq!(shape("2:2:2:2:2:2:2:2:2"), None);
    }

    #[test]
    fn several_tensors_are_bytes_of_known_sizes() {
        for list in [
            "3:224:224:1,1000:1",
            "3:224:224:1.1000:1",
            "3:224:224 , 1000",
        ] {
            let tensors = of(list, "uint8.float32").unwrap().unwrap();
            let sizes = vec![150_528, 4000];
            assert_eq!(tensors.size(), Some(154_528));
            assert_eq!(tensors.sizes(154_528), Some(sizes));
            assert_eq!(tensors.sizes(154_527), None);
            assert!(tensors.record(154_528).is_none());
        }
    }

    #[test]
    fn what_does_not_fit_its_caps_is_named() {
        let one = of("3:224:224:1", "float32").unwrap().unwrap();
        assert_eq!(one.check(&[602_112]), Ok(()));
        assert_eq!(one.check(&[602_000, 112]), Ok(()));
        assert_eq!(one.check(&[]), Ok(()));
        let error = one.check(&[600_000]).unwrap_err();
        for part in ["600000", "602112", "3:224:224", "float32"] {
            assert!(error.contains(part), "{error}");
        }
        let two = of("100,200", "uint8,uint8").unwrap().unwrap();
        assert_eq!(two.check(&[300]), Ok(()));
        assert_eq!(two.check(&[100, 200]), Ok(()));
        let error = two.check(&[200, 100]).unwrap_err();
        assert!(
            error.contains("memory 0 of a buffer has 200 bytes"),
            "{error}"
        );
        // A head of NNStreamer's own stands in the last memory.
        let many = vec!["10"; 40].join(",");
        let many = of(&many, &["uint8"; 40].join(",")).unwrap().unwrap();
        assert_eq!((many.size(), many.sizes(400)), (None, None));
        assert_eq!(many.check(&[500]), Ok(()));
        assert!(many.check(&[399]).is_err());
    }

    #[test]
    fn what_the_caps_do_not_tell_is_not_checked() {
        for caps in [
            "other/tensors,format=flexible,framerate=30/1",
            "other/tensors,format=sparse",
            "other/tensors,format=static,num_tensors=3",
            "other/tensors",
            "other/tensor",
            "other/tensors,format=another,dimensions=(string)x,types=(string)y",
        ] {
            let tensors = tensors(caps);
            assert_eq!(tensors, Tensors::Untold, "{caps}");
            assert_eq!(tensors.check(&[1, 2, 3]), Ok(()));
            assert_eq!((tensors.size(), tensors.sizes(6)), (None, None));
        }
        assert_eq!(read("other/flatbuf-tensor"), Ok(None));
    }

    #[test]
    fn caps_that_contradict_themselves_are_refused_in_few_words() {
        let long = "1,".repeat(100_000);
        for (dimensions, types) in [
            ("3:x", "uint8"),
            ("0", "uint8"),
            ("", "uint8"),
            ("3:0:4", "uint8"),
            ("3::4", "uint8"),
            ("-3", "uint8"),
            ("+3", "uint8"),
            ("4294967296", "uint8"),
            ("3:4", "bfloat16"),
            ("3:4", ""),
            ("3:4,5", "uint8"),
            ("3:4", "uint8,uint8"),
            ("3:4,", "uint8,uint8"),
            ("4294967295:4294967295:4294967295", "uint8"),
            ("4294967295:2147483649", "uint8"),
            ("2147483648:4294967295,4294967295", "uint8,uint8"),
            ("1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1", "uint8"),
            (&long, &long),
        ] {
            let error = of(dimensions, types).unwrap_err();
            assert!(
                error.starts_with("a tensor") || error.starts_with("tensors"),
                "{error}"
            );
            assert!(error.len() < 400, "{error}");
        }
        for caps in [
            "other/tensors,format=static,num_tensors=2,dimensions=(string)3,types=(string)uint8",
            "other/tensors,format=static,num_tensors=-1,dimensions=(string)3,types=(string)uint8",
            "other/tensors,format=static,num_tensors=1,dimensions=(string)3",
            "other/tensors,format=static,num_tensors=1,types=(string)uint8",
            "other/tensor,type=(string)uint8",
            "other/tensor,dimension=(string)\"3,3\",type=(string)\"uint8,uint8\"",
        ] {
            assert!(read(caps).is_err(), "{caps}");
        }
    }
}
