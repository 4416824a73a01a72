//! A client with GStreamer: the viewer, and the phoenix.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use gst::meta::CustomMeta;
use gst::prelude::*;

use crate::inspector::Inspector;
use crate::mapping::Access;
use crate::report::{Order, Report, Sight};
use crate::role::Role;
use crate::{Result, clip, elements, parent, pipeline};

/// Waits for its producer for as long as it takes, and receives every frame.
const PIPELINE: &str = "xmemsrc name=source channel=demo connection-timeout=18446744073709551615 \
    ! fakesink sync=false enable-last-sample=false";

/// How long a picture may take.
const PNG_PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// Receives until the stream ends.
pub fn main(role: Role, orders: Receiver<Order>) -> Result<()> {
    elements::init()?;
    let pipeline = pipeline::launch(PIPELINE)?;
    let source = pipeline::element(&pipeline, "source")?;
    let pad = source.static_pad("src").ok_or("xmemsrc has no pad")?;
    let watch = Mutex::new(Watch {
        inspector: Inspector::default(),
        orders,
        held: VecDeque::new(),
        role,
    });
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let at = parent::now();
        if let Some(buffer) = info.buffer() {
            let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = watch.receive(at, pad, buffer) {
                gst::element_error!(
                    pad.parent_element().expect("the pad of a source"),
                    gst::StreamError::Failed,
                    ("{error}")
                );
            }
        }
        gst::PadProbeReturn::Ok
    });
    parent::tell(&Report::Started);
    pipeline::play(&pipeline, || {})?;
    parent::tell(&Report::Ended);
    Ok(())
}

/// The phoenix always has frames in its hands, so that it dies with leases on them.
fn frames_held(role: Role) -> usize {
    match role {
        Role::Phoenix => 2,
        _ => 0,
    }
}

/// What a client does with its frames.
struct Watch {
    inspector: Inspector,
    orders: Receiver<Order>,
    /// The newest frames, kept from being written again.
    held: VecDeque<gst::Buffer>,
    role: Role,
}

impl Watch {
    fn receive(&mut self, at: u64, pad: &gst::Pad, buffer: &gst::Buffer) -> Result<()> {
        let (print, access) = self.inspector.look(pad, buffer)?;
        let seq = CustomMeta::from_buffer(buffer, "XmemBufferMeta")?
            .structure()
            .get("seq")?;
        parent::tell(&Report::Received(Sight {
            seq,
            at,
            print,
            in_place: access == Some(Access::ReadOnly),
        }));
        if self.role == Role::Viewer
            && seq == clip::PICTURED
            && let Ok(Order::Picture(path)) = self.orders.recv()
        {
            take_picture(pad, buffer, path);
        }
        self.held.push_back(buffer.clone());
        while self.held.len() > frames_held(self.role) {
            self.held.pop_front();
        }
        Ok(())
    }
}

/// Writes the frame to a file, as PNG, on a thread of its own: the frame is not written again as
/// long as that takes, and the stream goes on.
fn take_picture(pad: &gst::Pad, buffer: &gst::Buffer, path: PathBuf) {
    let sample = gst::Sample::builder()
        .buffer(buffer)
        .caps_if_some(pad.current_caps().as_ref())
        .build();
    std::thread::spawn(move || {
        parent::tell(&match write_png(&sample, &path) {
            Ok(()) => Report::Pictured,
            Err(error) => Report::Failed(format!("no picture at {}: {error}", path.display())),
        });
    });
}

fn write_png(sample: &gst::Sample, path: &Path) -> Result<()> {
    let png = gst::Caps::builder("image/png").build();
    let image = gst_video::convert_sample(sample, &png, Some(PNG_PATIENCE))?;
    let buffer = image.buffer().ok_or("the encoder made nothing")?;
    std::fs::write(path, buffer.map_readable()?)?;
    Ok(())
}
