//! Explains why downstream refuses the caps of a channel, and which element in between helps.

use std::collections::BTreeSet;
use std::fmt;

use glib::translate::IntoGlib;
use gst::prelude::*;
use gst::{Caps, CapsFeaturesRef, ElementFactoryType, StructureRef};

/// The maximum length of caps in a message, in bytes.
const MAX_TEXT: usize = 300;

/// Features of memory, and the element that uploads system memory to it.
const UPLOADS: [(&str, &str); 6] = [
    ("memory:GLMemory", "glupload"),
    ("memory:CUDAMemory", "cudaupload"),
    ("memory:VAMemory", "vapostproc"),
    ("memory:NVMM", "nvvideoconvert"),
    ("memory:VulkanImage", "vulkanupload"),
    ("memory:D3D11Memory", "d3d11upload"),
];

/// The features of memory that a channel can have, and the element that downloads it to system memory.
const DOWNLOADS: [(&str, &str); 1] = [("memory:CUDAMemory", "cudadownload")];

/// Converters of raw video in system memory, and those that do the same in CUDA memory.
const CUDA_CONVERTERS: [(&str, &str); 2] =
    [("videoconvert", "cudaconvert"), ("videoscale", "cudascale")];

/// The element after the source, as the user sees it.
struct Peer {
    name: String,
    /// The element is a capsfilter.
    is_filter: bool,
}

/// Returns the message that the source is about to post. If the base class only reports that the
/// pipeline does not negotiate, returns an error with the caps of the channel, the caps that
/// downstream accepts, and the element that helps.
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

/// Returns the text of the error; `None` if there are no caps, or nothing is linked.
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
            "{has}. {name} accepts no caps: the caps of the elements after it have nothing in \
             common"
        );
    }
    if accepted.is_any() || caps.is_subset(accepted) {
        return format!(
            "{has}. {name} accepts them, but an element after it does not: set GST_DEBUG=3 to see \
             the reason"
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
    /// Returns what the user can do, given the elements that help.
    fn advice(&self, elements: &[String]) -> String {
        let name = &self.name;
        match (elements, self.is_filter) {
            ([], true) => format!("Change the caps of {name}"),
            ([], false) => {
                format!("Put an element behind xmemsrc that converts to caps that {name} accepts")
            }
            (elements, true) => format!(
                "Put {} behind xmemsrc, or change the caps of {name}",
                elements.join(" ! ")
            ),
            (elements, false) => format!("Put {} behind xmemsrc", elements.join(" ! ")),
        }
    }
}

/// The difference of caps from others of the same media type.
struct Mismatch {
    /// The features of the channel's memory.
    has: gst::CapsFeatures,
    /// The features of the accepted memory, if it differs.
    memory: Option<gst::CapsFeatures>,
    fields: Vec<Difference>,
}

/// A field in which two structures differ.
struct Difference {
    field: String,
    /// The value of the channel's caps; `None` if they have no such field.
    has: Option<String>,
    wanted: String,
}

impl Mismatch {
    /// Returns the difference from the caps among `others` that have most in common with `caps`.
    fn closest(caps: &Caps, others: &[(&StructureRef, &CapsFeaturesRef)]) -> Option<Mismatch> {
        let (has, features) = (caps.structure(0)?, caps.features(0)?);
        let mismatches = others.iter().map(|(wanted, memory)| Mismatch {
            has: features.to_owned(),
            memory: (!memory.is_equal(features)).then(|| (*memory).to_owned()),
            fields: differences(has, wanted),
        });
        mismatches.min_by_key(|mismatch| (mismatch.memory.is_some(), mismatch.fields.len()))
    }

    /// Returns the elements that convert the differing fields and memory, in the order in which
    /// they are linked.
    fn elements(&self, kind: &str) -> Vec<String> {
        let mut elements: Vec<&str> = Vec::new();
        if self.memory.is_some() {
            elements.extend(element_of(&DOWNLOADS, |feature| self.has.contains(feature)));
        }
        let is_cuda = self.memory.is_none() && self.has.contains("memory:CUDAMemory");
        for difference in &self.fields {
            let converter = converter(kind, &difference.field);
            let in_cuda = |one| element_of(&CUDA_CONVERTERS, |cpu| is_cuda && cpu == one);
            let converter = converter.map(|one| in_cuda(one).unwrap_or(one));
            elements.extend(converter.filter(|one| !elements.contains(one)));
        }
        if let Some(memory) = &self.memory {
            elements.extend(element_of(&UPLOADS, |feature| memory.contains(feature)));
        }
        elements.into_iter().map(Into::into).collect()
    }
}

/// Returns the element in a table.
fn element_of(
    table: &[(&'static str, &'static str)],
    is_key: impl Fn(&'static str) -> bool,
) -> Option<&'static str> {
    let row = table.iter().find(|(key, _)| is_key(key));
    row.map(|(_, element)| *element)
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
        if parts.is_empty() {
            f.write_str("They differ")
        } else {
            write!(f, "They differ in {}", parts.join(", "))
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
    let text = |value: &glib::SendValue| match value.serialize() {
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

/// Returns the element that converts a field of raw video or audio.
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

/// Returns the element that makes the accepted media type of another one.
fn another_kind(caps: &Caps, accepted: &Caps) -> Vec<String> {
    let is_coded = |caps: &Caps| caps.iter().all(|structure| !is_raw(structure.name()));
    if is_coded(caps) && !is_coded(accepted) {
        return vec!["decodebin".into()];
    }
    between(caps, accepted).into_iter().collect()
}

/// Returns an installed element that takes `caps` and makes `accepted`, if there is one.
fn between(caps: &Caps, accepted: &Caps) -> Option<String> {
    // Raw caps without their fields: a converter in front can change format and size.
    let kinds = caps.iter().map(|structure| {
        if is_raw(structure.name()) {
            gst::Structure::new_empty(structure.name())
        } else {
            structure.to_owned()
        }
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

/// Returns caps as text of limited length, without the fields that hold binary data.
fn short(caps: &Caps) -> String {
    let mut caps = caps.clone();
    for structure in caps.make_mut().iter_mut() {
        structure.remove_fields(["codec_data", "streamheader"]);
    }
    cut(&caps.to_string())
}

fn cut(text: &str) -> String {
    if text.len() > MAX_TEXT {
        format!("{}...", &text[..text.floor_char_boundary(MAX_TEXT)])
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: &str = "video/x-raw,format=RGB,width=320,height=240,framerate=30/1";
    const SOUND: &str = "audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2";

    /// Returns the text for caps that are refused.
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
            (
                "video/x-raw(memory:CUDAMemory),format=NV12",
                "video/x-raw,format=NV12",
                "cudadownload",
            ),
            (
                "video/x-raw(memory:CUDAMemory),format=NV12",
                "video/x-raw,format=RGB",
                "cudadownload ! videoconvert",
            ),
            (
                "video/x-raw(memory:CUDAMemory),format=NV12,width=320",
                "video/x-raw(memory:CUDAMemory),format=RGBA,width=640",
                "cudaconvert ! cudascale",
            ),
            (
                "video/x-raw(memory:CUDAMemory),format=NV12",
                "video/x-raw(memory:GLMemory),format=NV12",
                "cudadownload ! glupload",
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
            text.ends_with("Put an element behind xmemsrc that converts to caps that next accepts"),
            "{text}"
        );
    }

    #[test]
    fn accepting_any_or_no_caps_is_explained() {
        assert!(said(PICTURE, "EMPTY", false).contains("next accepts no caps"));
        for accepted in ["ANY", PICTURE] {
            assert!(said(PICTURE, accepted, false).contains("an element after it does not"));
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
