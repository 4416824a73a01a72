//! The elements of the registry that combine streams, and a row for each.

use gst::prelude::*;
use xmem_tests::Line;
use xmem_tests::roles::parent::tell;
use xmem_tests::roles::{Child, Installation, PATIENCE, Result};

use crate::row::{Group, Row};
use crate::streams::*;

/// The streams for these elements. Each element gets the first stream that it accepts.
const STREAMS: &[Stream] = &[
    PICTURES_30,
    SOUND_10,
    H264_AVC,
    H264,
    VP8,
    VP9,
    AV1,
    H265,
    H265_HVC1,
    THEORA,
    MPEG2,
    JPEG,
    DV,
    PNG,
    FLOATS,
    BIG_ENDIAN,
    AAC,
    AAC_ADTS,
    OPUS,
    VORBIS,
    FLAC,
    MP3,
    MP3_44,
    MP2,
    AC3,
    MULAW,
    AMR_WB,
    SPEEX,
    WAVPACK,
    RTP_OPUS,
];

/// Elements that cannot be in a row of this kind, and why.
const NOT_TRIED: [(&str, &str); 29] = [
    ("webrtcbin", "it has a row of its own"),
    ("rtpbin", "it has a row of its own"),
    ("streamsynchronizer", "it has a row of its own"),
    ("playsink", "it has a row of its own"),
    ("audiointerleave", "it has a row of its own"),
    ("interleave", "it has a row of its own"),
    ("splitmuxsink", "it has a row of its own"),
    ("hlssink2", "it has a row of its own"),
    (
        "dashsink",
        "it writes files, as hlssink2 does, which has a row",
    ),
    ("encodebin", "an application must give it a profile"),
    ("encodebin2", "an application must give it a profile"),
    ("transcodebin", "an application must give it a profile"),
    ("rtpsession", "rtpbin runs it, which has a row"),
    ("rtpdec", "it is replaced by rtpbin"),
    ("rtprtxsend", "it is part of rtpbin"),
    ("rtprtxreceive", "it is part of rtpbin"),
    ("rtpst2022-1-fecdec", "it takes streams of repair packets"),
    ("rtpst2022-1-fecenc", "it takes RTP of MPEG-TS"),
    ("dtlssrtpenc", "it is part of webrtcbin"),
    ("srtpenc", "an application must give it a key"),
    ("dtlsenc", "it is part of webrtcbin"),
    ("sctpenc", "it is part of webrtcbin"),
    ("ristsink", "it sends over the network"),
    ("rtpsink", "it sends over the network"),
    (
        "ipcslavepipeline",
        "it is another element that cuts pipelines",
    ),
    ("avmux_rtsp", "it sends over the network"),
    ("avmux_sap", "it sends over the network"),
    ("rsndvdbin", "it plays disks"),
    ("mplex", "it waits for both of two streams of a disk"),
];

/// The role that reads the registry. Reports each element with the indices of the streams that it
/// accepts, and `done`.
///
/// # Errors
/// If GStreamer cannot be initialised.
pub fn list() -> Result<()> {
    gst::init()?;
    let can_switch = gst::ElementFactory::make("xmemsrc")
        .build()?
        .find_property("channel")
        .is_some_and(|property| property.flags().contains(gst::PARAM_FLAG_MUTABLE_PLAYING));
    tell("switching", can_switch);
    let factories = gst::Registry::get().features(gst::ElementFactory::static_type());
    let factories = factories.into_iter().filter_map(|feature| {
        let factory = feature.load().ok()?;
        factory.downcast::<gst::ElementFactory>().ok()
    });
    for factory in factories.filter(brings_together) {
        let plugin = factory
            .plugin()
            .map(|plugin| plugin.plugin_name().to_string());
        let line = Line::new("element")
            .with("name", factory.name())
            .with("plugin", plugin.as_deref().unwrap_or("none"))
            .with("takes", takes(&factory));
        tell("element", line.to_string().trim_start_matches("element "));
    }
    tell("done", "");
    parent_is_done();
    Ok(())
}

fn parent_is_done() {
    xmem_tests::roles::parent::orders().for_each(drop);
}

/// Whether an element accepts any number of streams, or has the base class of such elements.
fn brings_together(factory: &gst::ElementFactory) -> bool {
    let templates = factory.static_pad_templates();
    let takes_more = templates.iter().any(|template| {
        template.direction() == gst::PadDirection::Sink
            && template.presence() == gst::PadPresence::Request
    });
    let klass = factory.metadata("klass").unwrap_or_default();
    takes_more
        || klass.contains("Muxer")
        || factory
            .element_type()
            .is_a(gst_base::Aggregator::static_type())
}

/// The indices of the streams that its pads accept.
fn takes(factory: &gst::ElementFactory) -> String {
    let sinks = factory.static_pad_templates();
    let sinks: Vec<_> = sinks
        .iter()
        .filter(|template| template.direction() == gst::PadDirection::Sink)
        .map(|template| template.caps())
        .collect();
    let is_taken = |stream: &Stream| {
        let caps = stream
            .caps
            .parse::<gst::Caps>()
            .expect("the caps of a stream");
        sinks.iter().any(|sink| sink.can_intersect(&caps))
    };
    let numbers = STREAMS
        .iter()
        .enumerate()
        .filter(|(_, stream)| is_taken(stream));
    let numbers: Vec<_> = numbers.map(|(number, _)| number.to_string()).collect();
    numbers.join("+")
}

/// The result of reading the registry.
#[derive(Debug, Default)]
pub struct Found {
    /// A row for each element and kind of stream, and the reason if it is not tried.
    pub rows: Vec<(Row, Option<String>)>,
    /// Whether the channel of a source can be set while it plays.
    pub can_switch: bool,
}

/// Asks a child in the role `registry`: a process that loads all those plugins may crash or hang.
///
/// # Errors
/// If the child does not answer.
pub fn look(installation: &Installation) -> Result<Found> {
    let mut command = installation.role(&["registry"]);
    command.stderr(std::process::Stdio::null());
    let child = Child::spawn("the list of the registry", command)?;
    let mut found = Found {
        can_switch: child.report("switching", PATIENCE * 3)?.trim() == "true",
        ..Found::default()
    };
    loop {
        let line = child.line(std::time::Instant::now() + PATIENCE);
        let line = line.map_err(|_| "the list of the registry has no end")?;
        let line = Line::parse(&line);
        match line.word.as_str() {
            "element" => found.rows.extend(rows(&line)),
            "done" => break,
            _ => {}
        }
    }
    child.end()?;
    found
        .rows
        .sort_by(|(one, _), (other, _)| one.downstream.cmp(&other.downstream));
    Ok(found)
}

fn rows(line: &Line) -> Vec<(Row, Option<String>)> {
    let name = line.text("name");
    let known = NOT_TRIED.iter().find(|(element, _)| *element == name);
    let numbers = line.text("takes").split_terminator('+');
    let streams: Vec<Stream> = numbers
        .filter_map(|number| STREAMS.get(number.parse::<usize>().ok()?).copied())
        .collect();
    // The elements that make these streams may not be installed.
    let row = |streams: &[Stream], kind: &str| {
        let client = format!("{{s}} ! {{caps}} ! {name} ! fakesink name=out");
        let row = Row::new(
            Group::Registry,
            format!("{name}{kind}"),
            &[("s", streams[0])],
            client,
        )
        .instead(&streams[1..])
        .joins(20)
        .seconds(1);
        if name == "decodebin3" {
            row.chain()
        } else {
            row
        }
    };
    if let Some((_, why)) = known {
        return vec![(row(&[PICTURES_30], ""), Some((*why).to_owned()))];
    }
    let is_sound = |stream: &&Stream| stream.producer.starts_with("audiotestsrc");
    let (sound, pictures): (Vec<&Stream>, Vec<&Stream>) = streams.iter().partition(is_sound);
    let kinds = [(pictures, ", pictures"), (sound, ", sound")];
    let kinds = kinds.into_iter().filter(|(streams, _)| !streams.is_empty());
    let rows: Vec<_> = kinds
        .map(|(streams, kind)| {
            let streams: Vec<Stream> = streams.into_iter().copied().collect();
            (row(&streams, kind), None)
        })
        .collect();
    if rows.is_empty() {
        let why = "its pads accept none of the available streams";
        vec![(row(&[PICTURES_30], ""), Some(why.into()))]
    } else {
        rows
    }
}
