//! Tests of the record.

use super::*;
use proptest::prelude::*;

#[test]
fn a_tensor_has_dense_strides() {
    let meta = BufferMeta::tensor(DType::Float32, &[4, 3, 224, 224]).unwrap();
    assert_eq!(meta.strides(), &[602112, 200704, 896, 4]);
    assert_eq!(meta.size, 4 * 3 * 224 * 224 * 4);
    assert!(BufferMeta::tensor(DType::UInt8, &[1; 9]).is_err());
    assert!(BufferMeta::tensor(DType::UInt64, &[u64::MAX, 2]).is_err());
}

#[test]
fn text_is_cut_at_a_character() {
    let mut meta = BufferMeta::default();
    meta.set_producer("ä".repeat(17).as_str());
    assert_eq!(meta.producer(), "ä".repeat(16));
    meta.producer = [0xff; 32];
    assert_eq!(meta.producer(), "");
}

proptest! {
    #[test]
    fn whatever_passes_the_check_lies_inside_the_frame(bytes in proptest::collection::vec(any::<u8>(), 384), ndim in 0u8..10, small in any::<bool>()) {
        let mut meta = BufferMeta::read_from_bytes(&bytes).unwrap();
        meta.ndim = ndim;
        meta.dtype %= DType::ALL.len() as u8 + 1;
        meta.storage_type %= 3;
        if small {
            for value in meta.shape.iter_mut().chain(&mut meta.strides) { *value %= 9 }
            meta.size %= 512;
        }
        if meta.check().is_ok() && !meta.shape().contains(&0) {
            let end: u128 = meta.shape().iter().zip(meta.strides())
                .map(|(&n, &s)| (n as u128 - 1) * s as u128).sum::<u128>() + meta.dtype().size() as u128;
            prop_assert!(end <= meta.size as u128);
        }
    }
}
