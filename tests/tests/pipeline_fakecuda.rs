//! GStreamer, as it is, on the stand-in for the CUDA driver.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use xmem_tests::fakecuda::{ALL_OWNED, FakeCuda, Mode, gstreamer_has_cuda};
use xmem_tests::launched::Launched;
use xmem_tests::{Place, until, until_some};

/// A driver whose work the test releases.
fn held() -> FakeCuda {
    FakeCuda::new().mode(Mode::Hold)
}

const RAW: &str = "video/x-raw,format=NV12,width=320,height=240";
const FRAMES: usize = 20;

/// A pipeline of `videotestsrc` that writes its frames to a file.
struct Run {
    place: Place,
    launched: Launched,
}

impl Run {
    /// Without the caps for CUDA memory the elements would pass system memory on.
    const UPLOADED: &str = "cudaupload ! video/x-raw(memory:CUDAMemory) ! cudadownload !";

    fn start(driver: Option<&FakeCuda>, inside: &str) -> Run {
        let place = Place::new();
        let output = place.path().join("frames");
        let description = format!(
            "videotestsrc num-buffers={FRAMES} ! {RAW} ! {inside} videoconvert ! {RAW} ! \
             filesink buffer-mode=unbuffered location={}",
            output.display()
        );
        let launched = Launched::start_as(&place, &description, |command| {
            if let Some(driver) = driver {
                driver.apply_to_gstreamer(command);
            }
        });
        Run { place, launched }
    }

    fn output(&self) -> PathBuf {
        self.place.path().join("frames")
    }

    fn frames(&mut self) -> Vec<u8> {
        let (status, output) = self.launched.wait();
        assert!(status.success(), "{output}");
        fs::read(self.output()).expect("the pipeline has written a file")
    }
}

fn frames_pass_unchanged(driver: &FakeCuda) {
    let uncut = Run::start(None, "").frames();
    assert_eq!(uncut.len(), FRAMES * 320 * 240 * 3 / 2);
    let mut run = Run::start(Some(driver), Run::UPLOADED);
    assert!(run.frames() == uncut, "the frames differ");
    // At least two planes a frame, up and down.
    assert!(driver.calls("cuMemcpy2DAsync_v2").len() >= FRAMES * 4);
    driver.assert_nothing_left(run.launched.pid(), &ALL_OWNED);
}

#[test]
fn gstreamer_passes_frames_through_cuda_memory_unchanged() {
    if gstreamer_has_cuda() {
        frames_pass_unchanged(&FakeCuda::new());
    }
}

#[test]
fn gstreamer_passes_frames_unchanged_if_work_takes_long() {
    if gstreamer_has_cuda() {
        let time = Duration::from_millis(2);
        frames_pass_unchanged(&FakeCuda::new().mode(Mode::Delay(time)));
    }
}

#[test]
fn gstreamer_waits_for_held_work() {
    if !gstreamer_has_cuda() {
        return;
    }
    let driver = held();
    let mut run = Run::start(Some(&driver), Run::UPLOADED);
    let mut control = driver.control(run.launched.pid());
    until("the first frame is uploaded", || control.queued() > 0);
    // The log has a call once it has returned, which is after its work was queued.
    let upload = || driver.calls("cuMemcpy2DAsync_v2").into_iter().next();
    let upload = until_some("the upload is logged", upload);
    let thread = upload.text("thread");
    assert!(thread.starts_with("videotestsrc"), "{thread}");
    let size = |run: &Run| fs::metadata(run.output()).map_or(0, |file| file.len());
    assert_eq!(size(&run), 0);
    let frame = 320 * 240 * 3 / 2;
    until("the first frame is written", || {
        control.run_all();
        size(&run) >= frame
    });
    control.open();
    let uncut = Run::start(None, "").frames();
    assert!(run.frames() == uncut, "the frames differ");
}
