//! Values of types that have no type in Rust: enums and flags of whatever library, sets of flags,
//! ranges of doubles. And of types whose Rust type panics where GStreamer does not: texts that are
//! not UTF-8, ranges that were never set.
#![allow(unsafe_code)]

use glib::translate::{ToGlibPtr, ToGlibPtrMut, from_glib};
use glib::value::SendValue;
use glib::{Type, Value};
use gst::ffi;
use gst::prelude::*;

/// A value of an enum that knows this number.
pub(super) fn enumeration(of: Type, number: i32) -> Option<SendValue> {
    // The type of all enums is abstract: it has no values.
    let class = glib::EnumClass::with_type(of).filter(|_| of != Type::ENUM)?;
    let value = class.to_value(number)?;
    // SAFETY: a value of an enum is a number, which any thread may have.
    Some(unsafe { value.into_send_value() })
}

/// The number of a value whose type is an enum.
pub(super) fn enumeration_number(value: &Value) -> Option<i32> {
    let (_, known) = glib::EnumValue::from_value(value)?;
    Some(known.value())
}

/// A value of flags that know all these bits.
pub(super) fn flags(of: Type, bits: u32) -> Option<SendValue> {
    let class = glib::FlagsClass::with_type(of).filter(|_| of != Type::FLAGS)?;
    let known = class.values().iter().fold(0, |all, one| all | one.value());
    if bits & !known != 0 {
        return None;
    }
    let mut value = Value::from_type(of);
    // SAFETY: the value is of a flags type, for there is such a class, and is a number, which any
    // thread may have.
    unsafe {
        glib::gobject_ffi::g_value_set_flags(value.to_glib_none_mut().0, bits);
        Some(value.into_send_value())
    }
}

/// The bits of a value whose type is flags.
pub(super) fn flags_bits(value: &Value) -> Option<u32> {
    value.type_().is_a(Type::FLAGS).then(|| {
        // SAFETY: the value's type was checked.
        unsafe { glib::gobject_ffi::g_value_get_flags(value.to_glib_none().0) }
    })
}

/// The type of all sets of flags.
pub(super) fn flag_set_type() -> Type {
    // SAFETY: a function without conditions.
    unsafe { from_glib(ffi::gst_flagset_get_type()) }
}

/// A set of flags: `bits` of those in `mask`.
pub(super) fn flag_set(of: Type, bits: u32, mask: u32) -> Option<SendValue> {
    if !of.is_a(flag_set_type()) {
        return None;
    }
    let mut value = Value::from_type(of);
    // SAFETY: the value is a set of flags: two numbers, which any thread may have.
    unsafe {
        ffi::gst_value_set_flagset(value.to_glib_none_mut().0, bits, mask);
        Some(value.into_send_value())
    }
}

/// The bits and the mask of a value that is a set of flags.
pub(super) fn flag_set_bits(value: &Value) -> Option<(u32, u32)> {
    value.type_().is_a(flag_set_type()).then(|| {
        let value = value.to_glib_none().0;
        // SAFETY: the value's type was checked.
        unsafe {
            (
                ffi::gst_value_get_flagset_flags(value),
                ffi::gst_value_get_flagset_mask(value),
            )
        }
    })
}

/// The type of ranges of doubles.
pub(super) fn double_range_type() -> Type {
    // SAFETY: a function without conditions.
    unsafe { from_glib(ffi::gst_double_range_get_type()) }
}

/// A range of doubles; `None` where it has nothing in it.
pub(super) fn double_range(first: f64, last: f64) -> Option<SendValue> {
    // Also where one is not a number.
    if first.partial_cmp(&last) != Some(std::cmp::Ordering::Less) {
        return None;
    }
    let mut value = Value::from_type(double_range_type());
    // SAFETY: the value is a range of doubles: two numbers, which any thread may have. The first is
    // below the last, as is demanded.
    unsafe {
        ffi::gst_value_set_double_range(value.to_glib_none_mut().0, first, last);
        Some(value.into_send_value())
    }
}

/// First and last of a value that is a range of doubles.
pub(super) fn double_range_ends(value: &Value) -> Option<(f64, f64)> {
    (value.type_() == double_range_type()).then(|| {
        let value = value.to_glib_none().0;
        // SAFETY: the value's type was checked.
        unsafe {
            (
                ffi::gst_value_get_double_range_min(value),
                ffi::gst_value_get_double_range_max(value),
            )
        }
    })
}

/// First, last and step of a value that is a range of whole numbers, and whether they are 64 bits.
pub(super) fn int_range_ends(value: &Value) -> Option<(bool, [i64; 3])> {
    let of = value.type_();
    let value = value.to_glib_none().0;
    // SAFETY: the value's type is checked before its content is read.
    unsafe {
        if of == gst::IntRange::<i32>::static_type() {
            let ends = [
                ffi::gst_value_get_int_range_min(value),
                ffi::gst_value_get_int_range_max(value),
                ffi::gst_value_get_int_range_step(value),
            ];
            Some((false, ends.map(i64::from)))
        } else if of == gst::IntRange::<i64>::static_type() {
            let ends = [
                ffi::gst_value_get_int64_range_min(value),
                ffi::gst_value_get_int64_range_max(value),
                ffi::gst_value_get_int64_range_step(value),
            ];
            Some((true, ends))
        } else {
            None
        }
    }
}

/// Numerators and denominators of first and last of a value that is a range of fractions.
pub(super) fn fraction_range_ends(value: &Value) -> Option<[(i32, i32); 2]> {
    if value.type_() != gst::FractionRange::static_type() {
        return None;
    }
    let value = value.to_glib_none().0;
    // SAFETY: the value's type was checked. Its ends are fractions, or null where it was never set.
    unsafe {
        let first = ffi::gst_value_get_fraction_range_min(value);
        let last = ffi::gst_value_get_fraction_range_max(value);
        if first.is_null() || last.is_null() {
            return None;
        }
        Some([first, last].map(|end| {
            (
                ffi::gst_value_get_fraction_numerator(end),
                ffi::gst_value_get_fraction_denominator(end),
            )
        }))
    }
}

/// Numerator and denominator of a value that is a fraction.
pub(super) fn fraction_parts(value: &Value) -> Option<(i32, i32)> {
    (value.type_() == gst::Fraction::static_type()).then(|| {
        let value = value.to_glib_none().0;
        // SAFETY: the value's type was checked.
        unsafe {
            (
                ffi::gst_value_get_fraction_numerator(value),
                ffi::gst_value_get_fraction_denominator(value),
            )
        }
    })
}

/// A string, `None` where it is none; an error where the value is no string, or not one of UTF-8.
pub(super) fn string(value: &Value) -> Result<Option<&str>, ()> {
    if value.type_() != Type::STRING {
        return Err(());
    }
    // SAFETY: the value is a string: none, or one that ends with a zero and stays as long as the
    // value is borrowed.
    let text = unsafe {
        let text = glib::gobject_ffi::g_value_get_string(value.to_glib_none().0);
        (!text.is_null()).then(|| std::ffi::CStr::from_ptr(text))
    };
    text.map(|text| text.to_str().map_err(|_| ())).transpose()
}

/// Whether a value is a string that is empty or none, which GStreamer takes for no tag.
pub(super) fn is_empty_string(value: &Value) -> bool {
    string(value).is_ok_and(|text| text.is_none_or(str::is_empty))
}

/// A text of an array of texts; `None` where it is not UTF-8.
pub(super) fn text(text: &glib::GStringPtr) -> Option<&str> {
    // SAFETY: it ends with a zero, and stays as long as it is borrowed.
    unsafe { std::ffi::CStr::from_ptr(text.as_ptr()) }
        .to_str()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Names, Rules, from_gst, to_gst};
    use super::*;

    #[test]
    fn texts_that_are_not_utf_8_are_left_out_alone() {
        gst::init().unwrap();
        let [good, mut bad] = [(); 2].map(|()| glib::StrV::from(&["a", "b"][..]).to_value());
        // SAFETY: the value is an array of two texts of one letter each.
        unsafe {
            let texts = glib::gobject_ffi::g_value_get_boxed(bad.to_glib_none_mut().0);
            let texts = texts.cast::<*mut u8>();
            **texts.add(1) = 0xff;
        }
        let mut structure = gst::Structure::new_empty("a");
        for (field, value) in [("good", good), ("bad", bad)] {
            // SAFETY: any thread may have texts.
            structure.set_value(field, unsafe { value.into_send_value() });
        }
        let value = from_gst::structure(&structure).unwrap();
        let received = to_gst::structure(value, Rules::lenient(Names::own())).unwrap();
        assert_eq!(received.n_fields(), 1);
        assert!(received.has_field("good"));
    }
}
