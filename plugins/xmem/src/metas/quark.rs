//! Quarks: numbers for texts, which are valid in one process only.
#![allow(unsafe_code)]

use glib::ffi::GQuark;
use glib::translate::IntoGlib;
use xmem_media::value::Text;

use super::unfit::{NotRead, Result};
use crate::values::Rules;

/// Returns the text of a quark: empty for none, `None` if it is not UTF-8.
pub(super) fn text_of(quark: GQuark) -> Option<Text> {
    // SAFETY: the text of a number ends with a zero and is never freed. A number without a text has
    // none.
    let text = unsafe {
        let text = glib::ffi::g_quark_to_string(quark);
        (!text.is_null()).then(|| std::ffi::CStr::from_ptr(text))
    };
    text.map_or(Some(Text::default()), |text| {
        Text::new(text.to_str().ok()?).ok()
    })
}

/// Returns the quark of a text, 0 for an empty one.
pub(super) fn quark_of(text: &Text, rules: Rules<'_>) -> Result<GQuark> {
    if text.is_empty() {
        Ok(0)
    } else if rules.names.admit(text) {
        Ok(glib::Quark::from_str(&**text).into_glib())
    } else {
        Err(NotRead::Unknown)
    }
}
