//! Why downstream refuses a channel's caps, and which element between the two helps.

use std::collections::BTreeSet;
use std::fmt;

use gst::glib::translate::IntoGlib;
use gst::prelude::*;
use gst::{Caps, CapsFeaturesRef, ElementFactoryType, StructureRef};

/// Most letters of caps in a message.
const MOST_LETTERS: usize = 300;

/// What makes memory of a kind of system memory.
const UPLOADS: [(&str, &str); 6] = [
    ("memory:GLMemory", "glupload"),
    ("memory:CUDAMemory", "cudaupload"),
    ("memory:VAMemory", "vapostproc"),
    ("memory:NVMM", "nvvideoconvert"),
    ("memory:VulkanImage", "vulkanupload"),
    ("memory:D3D11Memory", "d3d11upload"),
];

/// What is after the source, as its user sees it.
struct Peer {
    name: String,
    /// It is there only to restrict caps.
    is_filter: bool,
}

/// A message that the source is about to post. Where the base class says no more than that the pipeline
/// does not negotiate, it is replaced by one that tells the caps of the channel, what downstream accepts,
/// and what helps.
pub(super) fn explained(source: &gst::Element, message: gst::Message) -> gst::Message {
    let gst::MessageView::Error(error) = message.view() else {
        return message;
    };
    let details = error.details();
    let flow = details.and_then(|details| details.get::<i32>("flow-return").ok());
    if flow != Some(gst::FlowReturn::NotNegotiated.into_glib()) {
        return message;
    }
    let Some(text) = explain(source) else {
        return message;
    };
    let debug = error.debug();
    let mut explained = gst::message::Error::builder(gst::CoreError::Negotiation, &text)
        .src(source)
        .debug_if_some(debug.as_deref());
    if let Some(details) = details {
        explained = explained.details(details.to_owned());
    }
    explained.build()
}

/// `None` where there are no caps, or nothing is downstream.
fn explain(source: &gst::Element) -> Option<String> {
    let pad = source.static_pad("src")?;
    let caps = pad.current_caps()?;
    let peer = pad.peer()?;
    let accepted = pad.peer_query_caps(None);
    let element = peer.parent_element();
    let factory = element.as_ref().and_then(gst::Element::factory);
    let peer = Peer {
        is_filter: factory.is_some_and(|factory| factory.name() == "capsfilter"),
        name: element
            .map_or_else(|| peer.name(), |element| element.name())
            .into(),
    };
    Some(text(&caps, &accepted, &peer))
}

fn text(caps: &Caps, accepted: &Caps, peer: &Peer) -> String {
    let name = &peer.name;
    let has = format!("The caps of the channel are {}", short(caps));
    if accepted.is_empty() {
        return format!(
            "{has}. {name} accepts none at all: the caps of the elements behind it have nothing in \
             common"
        );
    }
    if accepted.is_any() || caps.is_subset(accepted) {
        return format!(
            "{has}. {name} accepts them, but an element behind it does not: set GST_DEBUG=3 to see \
             what the others say"
        );
    }
    let kind = caps.structure(0).map_or("", |structure| structure.name());
    let same: Vec<_> = accepted
        .iter_with_features()
        .filter(|(structure, _)| structure.name() == kind)
        .collect();
    let Some(closest) = Mismatch::closest(caps, &same) else {
        let kinds: BTreeSet<&str> = accepted.iter().map(|other| other.name().as_str()).collect();
        let kinds: Vec<_> = kinds.into_iter().collect();
        let kinds = cut(&kinds.join(", "));
        let advice = peer.advice(&another_kind(caps, accepted));
        return format!("{has}. {name} accepts {kinds}. {advice}");
    };
    let accepts: Caps = same
        .iter()
        .map(|(structure, features)| ((*structure).to_owned(), (*features).to_owned()))
        .collect();
    let mut elements = closest.elements(kind);
    if elements.is_empty() && !is_raw(kind) {
        elements.extend(between(caps, accepted));
    }
    let advice = peer.advice(&elements);
    format!(
        "{has}. {name} accepts {}. {closest}. {advice}",
        short(&accepts)
    )
}

impl Peer {
    /// What the user can do where these elements help.
    fn advice(&self, elements: &[String]) -> String {
        let name = &self.name;
        match (elements, self.is_filter) {
            ([], true) => format!("Change the caps of {name}"),
            ([], false) => format!("Put an element behind xmemsrc that makes what {name} accepts"),
            (elements, true) => format!(
                "Put {} behind xmemsrc, or change the caps of {name}",
                elements.join(" ! ")
            ),
            (elements, false) => format!("Put {} behind xmemsrc", elements.join(" ! ")),
        }
    }
}

/// In what caps differ from others of the same kind.
struct Mismatch {
    /// Of the memory that is wanted, where it is another.
    memory: Option<gst::CapsFeatures>,
    fields: Vec<Difference>,
}

/// A field in which two structures differ.
struct Difference {
    field: String,
    /// `None` where it is missing.
    has: Option<String>,
    wanted: String,
}

impl Mismatch {
    /// That with those others which have most in common.
    fn closest(caps: &Caps, others: &[(&StructureRef, &CapsFeaturesRef)]) -> Option<Mismatch> {
        let (has, features) = (caps.structure(0)?, caps.features(0)?);
        let mismatches = others.iter().map(|(wanted, memory)| Mismatch {
            memory: (!memory.is_equal(features)).then(|| (*memory).to_owned()),
            fields: differences(has, wanted),
        });
        mismatches.min_by_key(|mismatch| (mismatch.memory.is_some(), mismatch.fields.len()))
    }

    /// The elements that change what differs, in the order in which they are put.
    fn elements(&self, kind: &str) -> Vec<String> {
        let mut elements: Vec<&str> = Vec::new();
        for difference in &self.fields {
            let converter = converter(kind, &difference.field);
            elements.extend(converter.filter(|one| !elements.contains(one)));
        }
        if let Some(memory) = &self.memory {
            let upload = UPLOADS.iter().find(|(kind, _)| memory.contains(*kind));
            elements.extend(upload.map(|(_, element)| *element));
        }
        elements.into_iter().map(Into::into).collect()
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self
            .memory
            .iter()
            .map(|memory| format!("memory ({memory} is accepted)"));
        let parts: Vec<_> = memory
            .chain(self.fields.iter().map(Difference::to_string))
            .collect();
        match parts.is_empty() {
            true => f.write_str("They differ"),
            false => write!(f, "They differ in {}", parts.join(", ")),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = cut(&self.wanted);
        match &self.has {
            Some(has) => write!(f, "{} ({}; {wanted} is accepted)", self.field, cut(has)),
            None => write!(f, "{} (missing; {wanted} is accepted)", self.field),
        }
    }
}

fn differences(has: &StructureRef, wanted: &StructureRef) -> Vec<Difference> {
    let text = |value: &gst::glib::SendValue| match value.serialize() {
        Ok(text) => text.to_string(),
        Err(_) => "another value".into(),
    };
    let fields = wanted.iter().filter_map(|(field, wanted)| {
        let value = has.value(field).ok();
        if value.is_some_and(|value| value.intersect(wanted).is_some()) {
            return None;
        }
        Some(Difference {
            field: field.to_string(),
            has: value.map(text),
            wanted: text(wanted),
        })
    });
    fields.collect()
}

/// What changes a field of raw video or sound.
fn converter(kind: &str, field: &str) -> Option<&'static str> {
    Some(match (kind, field) {
        ("video/x-raw", "format" | "colorimetry" | "chroma-site") => "videoconvert",
        ("video/x-raw", "width" | "height" | "pixel-aspect-ratio") => "videoscale",
        ("video/x-raw", "framerate" | "max-framerate") => "videorate",
        ("video/x-raw", "interlace-mode" | "field-order") => "deinterlace",
        ("audio/x-raw", "format" | "layout" | "channels" | "channel-mask") => "audioconvert",
        ("audio/x-raw", "rate") => "audioresample",
        _ => return None,
    })
}

fn is_raw(kind: &str) -> bool {
    kind.ends_with("/x-raw")
}

/// What makes caps of one kind of those of another.
fn another_kind(caps: &Caps, accepted: &Caps) -> Vec<String> {
    let is_coded = |caps: &Caps| caps.iter().all(|structure| !is_raw(structure.name()));
    if is_coded(caps) && !is_coded(accepted) {
        return vec!["decodebin".into()];
    }
    between(caps, accepted).into_iter().collect()
}

/// The installed element that makes these caps of those, where there is one.
fn between(caps: &Caps, accepted: &Caps) -> Option<String> {
    // Format and size are for a converter before it to change.
    let kinds = caps.iter().map(|structure| match is_raw(structure.name()) {
        true => gst::Structure::new_empty(structure.name()),
        false => structure.to_owned(),
    });
    let kinds: Caps = kinds.collect();
    [
        ElementFactoryType::PARSER,
        ElementFactoryType::DEMUXER,
        ElementFactoryType::DEPAYLOADER,
        ElementFactoryType::DECODER,
        ElementFactoryType::ENCODER,
        ElementFactoryType::PAYLOADER,
        ElementFactoryType::MUXER,
    ]
    .into_iter()
    .find_map(|kind| {
        let factories = gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL);
        let fits = |factory: &&gst::ElementFactory| {
            factory.can_sink_any_caps(&kinds) && factory.can_src_any_caps(accepted)
        };
        let factory = factories.iter().find(fits)?;
        Some(factory.name().to_string())
    })
}

/// Caps as a text of some length, without what no person reads.
fn short(caps: &Caps) -> String {
    let mut caps = caps.clone();
    for structure in caps.make_mut().iter_mut() {
        structure.remove_fields(["codec_data", "streamheader"]);
    }
    cut(&caps.to_string())
}

fn cut(text: &str) -> String {
    match text.len() > MOST_LETTERS {
        true => format!("{}...", &text[..text.floor_char_boundary(MOST_LETTERS)]),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: &str = "video/x-raw,format=RGB,width=320,height=240,framerate=30/1";
    const SOUND: &str = "audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2";

    /// What is said of caps that are refused.
    fn said(caps: &str, accepted: &str, is_filter: bool) -> String {
        gst::init().unwrap();
        let parse = |text: &str| text.parse::<Caps>().unwrap();
        let name = "next".into();
        text(&parse(caps), &parse(accepted), &Peer { name, is_filter })
    }

    #[test]
    fn the_element_that_converts_is_named() {
        for (caps, accepted, advice) in [
            (PICTURE, "video/x-raw,format=NV12", "videoconvert"),
            (PICTURE, "video/x-raw,format={NV12,I420}", "videoconvert"),
            (PICTURE, "video/x-raw,width=640", "videoscale"),
            (
                PICTURE,
                "video/x-raw,width=[400,800],height=480",
                "videoscale",
            ),
            (
                PICTURE,
                "video/x-raw,width=640,format=NV12",
                "videoscale ! videoconvert",
            ),
            (PICTURE, "video/x-raw,framerate=25/1", "videorate"),
            (
                PICTURE,
                "video/x-raw(memory:GLMemory),format=RGB",
                "glupload",
            ),
            (SOUND, "audio/x-raw,format=F32LE", "audioconvert"),
            (SOUND, "audio/x-raw,rate=44100", "audioresample"),
            (
                SOUND,
                "audio/x-raw,rate=44100,channels=1",
                "audioresample ! audioconvert",
            ),
            (SOUND, "audio/x-raw,layout=non-interleaved", "audioconvert"),
            ("image/jpeg,width=320", PICTURE, "decodebin"),
            ("video/x-h264,stream-format=avc", SOUND, "decodebin"),
        ] {
            let text = said(caps, accepted, false);
            let end = format!(". Put {advice} behind xmemsrc");
            assert!(text.ends_with(&end), "{caps} to {accepted}: {text}");
            let text = said(caps, accepted, true);
            let end = format!("{advice} behind xmemsrc, or change the caps of next");
            assert!(text.ends_with(&end), "{caps} to {accepted}: {text}");
        }
    }

    #[test]
    fn both_caps_are_told_and_in_what_they_differ() {
        let text = said(
            PICTURE,
            "video/x-raw,format=NV12,width=640; image/png",
            false,
        );
        for part in [
            "The caps of the channel are video/x-raw, format=(string)RGB, width=(int)320",
            "next accepts video/x-raw, format=(string)NV12, width=(int)640. ",
            "They differ in format (RGB; NV12 is accepted), width (320; 640 is accepted). ",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        assert!(!text.contains("png"), "{text}");
        // The closest of several.
        let text = said(
            PICTURE,
            "video/x-raw,format=NV12,width=640; video/x-raw,format=I420",
            false,
        );
        assert!(
            text.contains("They differ in format (RGB; I420 is accepted). "),
            "{text}"
        );
    }

    #[test]
    fn a_field_that_is_missing_is_named() {
        let text = said("video/x-test,width=1", "video/x-test,parsed=true", true);
        assert!(
            text.contains("parsed (missing; true is accepted)"),
            "{text}"
        );
        assert!(text.ends_with("Change the caps of next"), "{text}");
    }

    #[test]
    fn where_nothing_converts_no_element_is_named() {
        let text = said(SOUND, PICTURE, false);
        assert!(text.contains("next accepts video/x-raw. "), "{text}");
        assert!(
            text.ends_with("Put an element behind xmemsrc that makes what next accepts"),
            "{text}"
        );
    }

    #[test]
    fn who_accepts_all_or_nothing_is_said_to() {
        assert!(said(PICTURE, "EMPTY", false).contains("next accepts none at all"));
        for accepted in ["ANY", PICTURE] {
            assert!(said(PICTURE, accepted, false).contains("an element behind it does not"));
        }
    }

    #[test]
    fn long_caps_are_cut_and_headers_left_out() {
        let header = "00".repeat(10_000);
        let long = format!(
            "audio/x-test,streamheader=(buffer)<{header},{header}>,codec_data=(buffer){header}"
        );
        let text = said(&long, "audio/x-test,rate=1", false);
        assert!(
            text.starts_with("The caps of the channel are audio/x-test. next"),
            "{text}"
        );
        let formats: Vec<_> = (0..1000).map(|number| format!("F{number}")).collect();
        let many = format!("video/x-raw,format=(string){{{}}}", formats.join(","));
        assert!(said(PICTURE, &many, false).len() < 1500);
    }
}
