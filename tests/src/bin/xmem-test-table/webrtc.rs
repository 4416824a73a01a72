//! Two `webrtcbin`s of one pipeline, which agree on what they send.

use gst::glib;
use gst::prelude::*;
use xmem_tests::roles::Result;

use crate::problems;

/// The one that sends, and the one that receives.
const NAMES: [&str; 2] = ["webrtc-a", "webrtc-b"];

/// What is behind the one that receives.
const RECEIVER: &str = "rtpvp8depay ! vp8dec ! fakesink name=out";

/// Connects the pipeline's `webrtcbin`s, where it has two.
///
/// # Errors
/// When what receives can't be made.
pub fn connect(pipeline: &gst::Pipeline) -> Result<()> {
    let [Some(sender), Some(receiver)] = NAMES.map(|name| pipeline.by_name(name)) else {
        return Ok(());
    };
    // Candidates of each are the other's.
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
            problems::add(format!("nothing receives: {error}"));
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

/// Has the one make an offer and the other an answer, and tells both of both.
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

/// Has a `webrtcbin` make a description, and hands it on.
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
