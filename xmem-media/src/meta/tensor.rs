//! Tensors beside a frame: what a model has made of a picture, or is given.

use crate::field::plain;
use crate::value::Text;

/// Most dimensions of a tensor.
const MAX_DIMS: usize = 64;

plain! {
    /// The tensors of a model.
    Tensors {
        /// The tensors.
        tensors: Vec<Tensor> [1024],
    }
    /// A tensor of a model. What [`is_whole`](Tensor::is_whole) says is not checked before.
    Tensor {
        /// What it is; empty where that is not known.
        id: Text,
        /// The number of a `GstTensorDataType`: what its elements are.
        data_type: i32,
        /// The number of a `GstTensorDimOrder`: 0 row-major, 1 column-major.
        order: i32,
        /// The length of each dimension, 1 to 64 of them; 0 where it is not known before.
        dims: Vec<u64> [MAX_DIMS],
        /// The elements.
        data: Box<[u8]>,
    }
}

impl Tensor {
    /// Whether it has as many bytes as its dimensions and the type of its elements say. `false` for a
    /// type, or an order, that is not known here.
    pub fn is_whole(&self) -> bool {
        let bits = match self.data_type {
            0 | 5 => 4,
            1 | 6 | 15 | 18..=21 => 8,
            2 | 7 | 10 | 13 => 16,
            3 | 8 | 11 => 32,
            4 | 9 | 12 | 16 => 64,
            17 => 128,
            // Texts, of any length.
            14 => 0,
            _ => return false,
        };
        let size = self.data.len() as u64;
        // A dimension of 0 is one that is not known before: so many of what the others make.
        let mut known = self.dims.iter().filter(|&&dim| dim != 0);
        let all = known.try_fold(bits, |all: u64, &dim| all.checked_mul(dim));
        let times = |bits: u64| {
            if self.dims.contains(&0) {
                Some(size.checked_mul(8)? / bits)
            } else {
                Some(1)
            }
        };
        let fits = |bits: u64| Some(bits.checked_mul(times(bits)?)?.div_ceil(8) == size);
        (0..=1).contains(&self.order)
            && (1..=MAX_DIMS).contains(&self.dims.len())
            && (bits == 0 || all.and_then(fits).unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_has_as_many_bytes_as_its_dimensions_say() {
        let (int4, uint8, uint16, float32) = (0, 6, 7, 11);
        for (data_type, dims, size, expected) in [
            (float32, &[3, 4][..], 48, true),
            (float32, &[3, 4], 47, false),
            (int4, &[3, 5], 8, true),
            (int4, &[3, 5], 7, false),
            (uint8, &[u64::MAX, 2], 6, false),
            (uint8, &[u64::MAX / 4, 8], 0, false),
            (uint8, &[], 1, false),
            (uint8, &[1; 65], 1, false),
            // So many of what the other dimensions make.
            (uint16, &[0, 3], 12, true),
            (uint16, &[0, 3], 0, true),
            (uint16, &[0, 3], 10, false),
            (uint16, &[0, 0], 6, true),
            (int4, &[3, 0], 5, true),
            (int4, &[3, 0], 4, false),
            (float32, &[0, 1 << 20, 4], 64, false),
            (float32, &[0, u64::MAX, 4], 64, false),
            (-1, &[1], 1, false),
            (22, &[1], 1, false),
        ] {
            let tensor = |order| Tensor {
                id: Text::default(),
                data_type,
                order,
                dims: dims.to_vec(),
                data: vec![0; size].into(),
            };
            let said = format!("{data_type} {dims:?} {size}");
            assert_eq!(tensor(0).is_whole(), expected, "{said}");
            assert!(!tensor(2).is_whole(), "{said}");
        }
    }
}
