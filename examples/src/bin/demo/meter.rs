//! A client without GStreamer: reads the pixels in shared memory, and measures them.

use xmem_core::{Channel, Error, Frame, Subscriber};

use crate::fingerprint::Fingerprint;
use crate::layout::{Layout, Plane};
use crate::mapping::{Access, Segments};
use crate::report::{Report, Sight};
use crate::{Result, parent};

/// Receives until the stream ends.
pub fn main() -> Result<()> {
    parent::tell(&Report::Started);
    let mut subscriber = connect()?;
    let mut segments = Segments::default();
    // Frames stay as they are for as long as they are held: no need to copy the last one.
    let mut previous: Option<(Frame, Layout)> = None;
    loop {
        let frame = match subscriber.receive(None) {
            Ok(frame) => frame,
            Err(Error::EndOfStream) => break,
            Err(error) => return Err(error.into()),
        };
        let at = parent::now();
        let layout = Layout::of_frame(&frame)?;
        let payload = frame.payload();
        let access = segments.access(payload.as_ptr(), payload.len())?;
        parent::tell(&Report::Received(Sight {
            seq: frame.seq(),
            at,
            print: fingerprint(&frame, &layout),
            in_place: access == Some(Access::ReadOnly),
        }));
        let (before, layout_before) = match &previous {
            Some((frame, layout)) => (frame, layout),
            None => (&frame, &layout),
        };
        parent::tell(&measure(
            (&frame, layout.luma()),
            (before, layout_before.luma()),
        ));
        previous = Some((frame, layout));
    }
    parent::tell(&Report::Ended);
    Ok(())
}

/// Connects, for as long as it takes. A producer that has not a moment to shake hands, on a machine
/// that is more than busy, is asked again.
fn connect() -> Result<Subscriber> {
    let builder = Subscriber::builder(Channel::name("demo"))
        .name("meter")
        .connect_timeout(None);
    loop {
        match builder.clone().connect() {
            Err(error @ Error::Disconnected(_)) => {
                parent::tell(&Report::Warned(error.to_string()));
            }
            other => return Ok(other?),
        }
    }
}

fn fingerprint(frame: &Frame, layout: &Layout) -> u64 {
    let mut print = Fingerprint::default();
    let mut line = Vec::new();
    for row in layout.rows() {
        line.resize(row.len(), 0);
        frame.payload().read(row.start, &mut line);
        print.add(&line);
    }
    print.finish()
}

/// Mean brightness, and its mean difference to the frame before.
fn measure((frame, luma): (&Frame, Plane), (before, luma_before): (&Frame, Plane)) -> Report {
    let (mut line, mut line_before) = (Vec::new(), Vec::new());
    let (mut sum, mut difference, mut pixels) = (0, 0, 0);
    for (row, row_before) in luma.rows().zip(luma_before.rows()) {
        line.resize(row.len(), 0);
        line_before.resize(row_before.len(), 0);
        frame.payload().read(row.start, &mut line);
        before.payload().read(row_before.start, &mut line_before);
        let differences = line.iter().zip(&line_before).map(|(a, b)| a.abs_diff(*b));
        sum += line.iter().map(|&pixel| u64::from(pixel)).sum::<u64>();
        difference += differences.map(u64::from).sum::<u64>();
        pixels += line.len();
    }
    Report::Measured {
        luma: sum as f64 / pixels as f64,
        motion: difference as f64 / pixels as f64,
    }
}
