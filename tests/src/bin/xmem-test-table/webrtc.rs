//! Two `webrtcbin`s in one pipeline, which negotiate with each other.

use gst::glib;
use gst::prelude::*;
use xmem_tests::roles::Result;

use crate::problems;

/// The sender and the receiver.
const NAMES: [&str; 2] = ["webrtc-a", "webrtc-b"];

/// The pipeline behind the receiver.
const RECEIVER: &str = "rtpvp8depay ! vp8dec ! fakesink name=out";

/// Connects the two `webrtcbin`s of the pipeline, if it has any.
///
/// # Errors
/// If the pipeline behind the receiver cannot be created.
pub fn connect(pipeline: &gst::Pipeline) -> Result<()> {
    let [Some(sender), Some(receiver)] = NAMES.map(|name| pipeline.by_name(name)) else {
        return Ok(());
    };
    // Each gets the candidates of the other.
    for (from, to) in [(&sender, &receiver), (&receiver, &sender)] {
        let to = to.downgrade();
        from.connect("on-ice-candidate", false, move |values| {
            if let Some(to) = to.upgrade() {
                let line = values[1].get::<u32>().unwrap_or(0);
                let candidate = values[2].get::<String>().unwrap_or_default();
                to.emit_by_name::<()>("add-ice-candidate", &[&line, &candidate]);
            }
            None
        });
    }
    let weak = pipeline.downgrade();
    receiver.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        if pad.direction() == gst::PadDirection::Src
            && let Err(error) = receive(&pipeline, pad)
        {
            problems::add(format!("the receiving pipeline cannot be created: {error}"));
        }
    });
    let receiver = receiver.downgrade();
    sender.connect("on-negotiation-needed", false, move |values| {
        let sender = values[0].get::<gst::Element>().ok()?;
        negotiate(&sender, &receiver.upgrade()?);
        None
    });
    Ok(())
}

fn receive(pipeline: &gst::Pipeline, pad: &gst::Pad) -> Result<()> {
    let bin = gst::parse::bin_from_description(RECEIVER, true)?;
    pipeline.add(&bin)?;
    bin.sync_state_with_parent()?;
    let sink = bin.static_pad("sink").ok_or("a bin without a pad")?;
    pad.link(&sink)?;
    Ok(())
}

/// Makes the sender create an offer and the receiver an answer, and sets both in both.
fn negotiate(sender: &gst::Element, receiver: &gst::Element) {
    let (from, to) = (sender.clone(), receiver.clone());
    describe(sender, "create-offer", "offer", move |offer| {
        tell(&from, "set-local-description", &offer);
        tell(&to, "set-remote-description", &offer);
        let (from, to) = (from.clone(), to.clone());
        describe(&to.clone(), "create-answer", "answer", move |answer| {
            tell(&to, "set-local-description", &answer);
            tell(&from, "set-remote-description", &answer);
        });
    });
}

/// Makes a `webrtcbin` create a description, and passes it on.
fn describe(
    webrtc: &gst::Element,
    signal: &str,
    field: &'static str,
    then: impl FnOnce(glib::SendValue) + Send + 'static,
) {
    let promise = gst::Promise::with_change_func(move |reply| {
        let described = reply.ok().flatten();
        let described = described.and_then(|reply| reply.value(field).ok());
        match described {
            Some(described) => then(described.clone()),
            None => problems::add(format!("there is no {field}")),
        }
    });
    webrtc.emit_by_name::<()>(signal, &[&None::<gst::Structure>, &promise]);
}

fn tell(webrtc: &gst::Element, signal: &str, description: &glib::SendValue) {
    let description: &glib::Value = description;
    webrtc.emit_by_name_with_values(
        signal,
        &[description.clone(), None::<gst::Promise>.to_value()],
    );
}
