//! GstCustomMeta: a structure under a name that an application has registered.

use std::sync::Mutex;

use glib::Type;
use gst::MetaRef;
use gst::meta::CustomMeta;
use xmem_media::meta::Custom;
use xmem_media::value::Text;

use super::unfit::{NotRead, Result};
use crate::memory::record::RECORD;
use crate::values::{Rules, from_gst, to_gst};

/// The maximum number of names that other processes can have registered here: GStreamer never
/// forgets one.
const MAX_REGISTERED: usize = 64;

/// The names that were registered here.
static REGISTERED: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub(super) fn write(meta: &MetaRef<'_, CustomMeta>) -> Option<Custom> {
    let tags = meta.tags().iter().take(Custom::MAX_TAGS);
    let tags = tags.map(|tag| Text::new(tag.as_str()).ok());
    Some(Custom {
        tags: tags.collect::<Option<_>>()?,
        structure: from_gst::structure(meta.structure())?,
    })
}

pub(super) fn read(buffer: &mut gst::BufferRef, meta: Custom, rules: Rules<'_>) -> Result {
    let structure = to_gst::structure(meta.structure, rules)?;
    let name = structure.name();
    // The source makes that one itself, and keeps it when it uses the buffer again.
    if name == RECORD || !register(name, &meta.tags, rules) {
        return Err(NotRead::Unknown);
    }
    // Not where the name is another meta's.
    let mut meta = CustomMeta::add(buffer, name).map_err(|_| NotRead::Unknown)?;
    let target = meta.mut_structure();
    for (name, value) in structure.iter() {
        target.set_value(name, value.clone());
    }
    Ok(())
}

/// Returns whether a meta of this name is registered, by the application or by this call.
fn register(name: &str, tags: &[Text], rules: Rules<'_>) -> bool {
    if CustomMeta::is_registered(name) {
        return true;
    }
    let mut registered = REGISTERED.lock().unwrap_or_else(|lock| lock.into_inner());
    // By another thread, before there was the lock.
    if CustomMeta::is_registered(name) {
        return true;
    }
    let api = format!("{name}-api");
    if registered.len() == MAX_REGISTERED
        || !is_free(name)
        || Type::from_name(name).is_some()
        || Type::from_name(&api).is_some()
        || !tags.iter().all(|tag| rules.names.admit(tag))
    {
        gst::debug!(
            crate::log::CAT,
            "A meta {name} is not registered here, and can't be"
        );
        return false;
    }
    gst::info!(
        crate::log::CAT,
        "Registering the meta {name}, as a producer has"
    );
    let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
    CustomMeta::register(name, &tags);
    registered.push(name.to_owned());
    CustomMeta::is_registered(name)
}

/// Returns whether a name can be the name of a type, and is not one that a library registers when it
/// is loaded.
fn is_free(name: &str) -> bool {
    let is_taken = |prefix| name.starts_with(prefix);
    name.len() >= 3
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_+".contains(&byte))
        && !["Gst", "GES", "GLib", "GObject", "Xmem"]
            .iter()
            .any(is_taken)
}
