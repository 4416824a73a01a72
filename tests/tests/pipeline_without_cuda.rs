//! Pipelines without CUDA memory load neither the CUDA driver nor GStreamer's library for it.

use std::fs;
use std::process::Command;

use xmem_tests::launched::Launched;
use xmem_tests::{Place, program, until};

#[test]
fn the_plugin_links_no_library_for_cuda() {
    let output = Command::new("readelf")
        .args(["--dynamic", &program::path("libgstxmem.so")])
        .output()
        .expect("readelf starts, which is where the linker is");
    let output = String::from_utf8_lossy(&output.stdout);
    let needed: Vec<_> = output
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .collect();
    assert!(
        needed.iter().any(|line| line.contains("libgstvideo-1.0")),
        "{output}"
    );
    let cuda = needed.iter().find(|line| line.contains("cuda"));
    assert!(cuda.is_none(), "{output}");
}

#[test]
fn pipelines_without_cuda_memory_load_nothing_for_it() {
    let place = Place::new();
    let log = |name| place.path().join(name);
    let start = |name, description: &str| {
        Launched::start_as(&place, description, |command| {
            command
                .env("GST_DEBUG", "2,*cuda*:6,xmem:5")
                .env("GST_DEBUG_FILE", log(name));
        })
    };
    let source = "videotestsrc is-live=true ! video/x-raw,width=320,height=240";
    let sink = start("sink", &format!("{source} ! xmemsink channel=cpu"));
    let output = place.path().join("frames");
    let file = format!(
        "filesink buffer-mode=unbuffered location={}",
        output.display()
    );
    let source = start("source", &format!("xmemsrc channel=cpu ! {file}"));
    until("frames have crossed", || {
        fs::metadata(&output).is_ok_and(|file| file.len() > 1_000_000)
    });
    for (name, mut pipeline) in [("source", source), ("sink", sink)] {
        let maps = fs::read_to_string(format!("/proc/{}/maps", pipeline.pid()));
        let maps = maps.expect("the pipeline runs");
        assert!(maps.contains("libgstxmem"), "{maps}");
        let cuda = maps.lines().find(|line| line.contains("cuda"));
        assert_eq!(cuda, None);
        pipeline.interrupt();
        let log = fs::read_to_string(log(name)).expect("the pipeline has a log");
        assert!(!log.to_lowercase().contains("cuda"), "{log}");
    }
}
