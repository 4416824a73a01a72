//! The output of `gst-inspect-1.0` for the elements can be read as a manual.

use gst::glib::{self, ParamFlags};
use gst::prelude::*;
use xmem_tests::Place;
use xmem_tests::local::{self, Local};

const ELEMENTS: [&str; 2] = ["xmemsink", "xmemsrc"];

fn make(element: &str) -> gst::Element {
    local::init();
    let element = gst::ElementFactory::make(element).build();
    element.expect("the plugin has the element")
}

/// The properties of an element that its base classes do not have.
fn own_properties(element: &gst::Element) -> Vec<glib::ParamSpec> {
    let properties = element.list_properties();
    let own = properties
        .iter()
        .filter(|property| property.owner_type() == element.type_());
    own.cloned().collect()
}

/// What is wrong with a text for users in the style of GStreamer: it begins with a capital and ends
/// without a period.
fn fault(text: &str) -> Option<&'static str> {
    if !text.starts_with(|first: char| first.is_ascii_uppercase()) {
        Some("does not begin with a capital")
    } else if text.ends_with(['.', ' ', ',', ';', ':']) {
        Some("ends with a period, or is incomplete")
    } else if text.contains("  ") || text.contains('\n') {
        Some("has two spaces, or a line break")
    } else if text.contains('\u{2014}') || text.contains(" - ") {
        Some("has a dash")
    } else {
        None
    }
}

#[test]
fn every_property_has_a_name_and_says_what_it_is() {
    for name in ELEMENTS {
        let element = make(name);
        let properties = own_properties(&element);
        assert!(properties.len() >= 7, "{name} has {}", properties.len());
        for property in properties {
            let of = format!("{name} {}", property.name());
            let nick = property.nick();
            assert_eq!(fault(nick), None, "nick of {of}: {nick:?}");
            assert_ne!(nick, property.name(), "{of} has no nick of its own");
            let blurb = property.blurb().expect("a blurb");
            assert_eq!(fault(blurb), None, "blurb of {of}: {blurb:?}");
            assert!(blurb.len() > 25, "{of} says little: {blurb:?}");
            if property.name().ends_with("timeout") {
                assert!(blurb.contains("nanoseconds"), "{of} has no unit: {blurb:?}");
                assert!(blurb.contains("= no limit"), "the end of {of}: {blurb:?}");
            }
            if let Some(number) = property.downcast_ref::<glib::ParamSpecUInt>()
                && number.minimum() == 0
                && number.default_value() == 0
                && property.flags().contains(ParamFlags::WRITABLE)
            {
                assert!(blurb.contains("(0 = "), "what 0 is for {of}: {blurb:?}");
            }
        }
    }
}

#[test]
fn every_value_of_an_enum_has_a_nick_and_says_what_it_is() {
    let mut values = 0;
    for name in ELEMENTS {
        for property in own_properties(&make(name)) {
            let Some(class) = glib::EnumClass::with_type(property.value_type()) else {
                continue;
            };
            for value in class.values() {
                values += 1;
                let (nick, says) = (value.nick(), value.name());
                let is_kebab = |letter: char| letter.is_ascii_lowercase() || letter == '-';
                assert!(nick.chars().all(is_kebab), "{nick:?} of {name}");
                assert_eq!(fault(says), None, "{nick} of {name}: {says:?}");
            }
        }
    }
    assert!(values >= 7, "{values} values");
}

#[test]
fn every_property_says_when_it_can_be_changed() {
    for name in ELEMENTS {
        for property in own_properties(&make(name)) {
            let flags = property.flags();
            let mutable = gst::PARAM_FLAG_MUTABLE_READY
                | gst::PARAM_FLAG_MUTABLE_PAUSED
                | gst::PARAM_FLAG_MUTABLE_PLAYING;
            let says = property
                .blurb()
                .is_some_and(|blurb| blurb.ends_with("; set in NULL"));
            let is_writable = flags.contains(ParamFlags::WRITABLE);
            let ways = [!is_writable, flags.intersects(mutable), says];
            let ways = ways.iter().filter(|way| **way).count();
            assert_eq!(ways, 1, "{name} {}", property.name());
        }
    }
}

/// A value other than the current one.
fn other(property: &glib::ParamSpec) -> String {
    if let Some(class) = glib::EnumClass::with_type(property.value_type()) {
        return class.values().last().expect("some value").nick().to_owned();
    }
    match property.name() {
        "channel" | "socket-path" | "address" => "other".into(),
        "wait-for-connection" => "true".into(),
        "import-memory" => "false".into(),
        _ => "5".into(),
    }
}

#[test]
fn properties_that_cannot_be_changed_later_keep_their_values() {
    let place = Place::new();
    let sink = local::sink(&place, "async=false");
    let pipeline = Local::new(&format!("appsrc ! {sink}"));
    pipeline.change(gst::State::Ready);
    let sink = pipeline.element("sink");
    for property in own_properties(&sink) {
        if !property.flags().contains(ParamFlags::WRITABLE) {
            continue;
        }
        let before = sink.property_value(property.name());
        let other = other(&property);
        sink.set_property_from_str(property.name(), &other);
        let text = |value: glib::Value| format!("{value:?}");
        let has_changed = text(sink.property_value(property.name())) != text(before);
        let may_change = property.flags().contains(gst::PARAM_FLAG_MUTABLE_PLAYING);
        assert_eq!(has_changed, may_change, "{}={other}", property.name());
    }
}

#[test]
fn the_elements_say_what_they_are_for() {
    local::init();
    for (name, class, pad) in [("xmemsink", "Sink", "sink"), ("xmemsrc", "Source", "src")] {
        let factory = gst::ElementFactory::find(name).expect("the plugin has the element");
        assert_eq!(factory.metadata("klass"), Some(class));
        for key in ["long-name", "description", "author"] {
            let text = factory.metadata(key).expect(key);
            let is_name = key == "author";
            assert!(
                is_name || fault(text).is_none(),
                "{key} of {name}: {text:?}"
            );
        }
        assert_ne!(
            factory.metadata("long-name"),
            factory.metadata("description")
        );
        let templates = factory.static_pad_templates();
        let templates: Vec<_> = templates.iter().collect();
        assert_eq!(templates.len(), 1);
        assert_eq!(templates[0].name_template(), pad);
        assert_eq!(templates[0].presence(), gst::PadPresence::Always);
        assert!(templates[0].caps().is_any());
    }
    let plugin = gst::Registry::get()
        .find_plugin("xmem")
        .expect("the element is registered");
    assert_eq!(fault(&plugin.description()), None);
    assert_eq!(plugin.license(), "MIT/X11");
    assert!(
        plugin.origin().starts_with("https://"),
        "{}",
        plugin.origin()
    );
}
