//! The GStreamer elements that the demo is made of, and where to get them.

use std::collections::BTreeMap;

use crate::Result;

/// What is needed, by the Debian and Ubuntu package that has it.
const NEEDED: [(&str, &[&str]); 5] = [
    (
        "libgstreamer1.0-0",
        &["filesrc", "filesink", "fakesink", "identity"],
    ),
    (
        "gstreamer1.0-plugins-base",
        &[
            "videotestsrc",
            "videoconvert",
            "videoscale",
            "appsrc",
            "appsink",
        ],
    ),
    (
        "gstreamer1.0-plugins-good",
        &["matroskamux", "matroskademux", "pngenc"],
    ),
    ("gstreamer1.0-plugins-ugly", &["x264enc"]),
    ("gstreamer1.0-libav", &["avdec_h264"]),
];

/// Starts GStreamer and finds xmem's plugin: where `GST_PLUGIN_PATH` says, else beside this
/// program.
pub fn init() -> Result<()> {
    gst::init()?;
    if is_missing("xmemsink") {
        let program = std::env::current_exe()?;
        let plugin = program.with_file_name("libgstxmem.so");
        gst::Plugin::load_file(&plugin).map_err(|_| {
            format!(
                "there is no plugin at {}: run \"make build\", or let GST_PLUGIN_PATH say where it is",
                plugin.display()
            )
        })?;
    }
    Ok(())
}

/// Checks that every element is there.
///
/// # Errors
/// The packages to install.
pub fn check() -> Result<()> {
    let missing: BTreeMap<&str, Vec<&str>> = NEEDED
        .into_iter()
        .map(|(package, elements)| {
            let missing = elements.iter().copied().filter(|name| is_missing(name));
            (package, missing.collect::<Vec<_>>())
        })
        .filter(|(_, missing)| !missing.is_empty())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing
        .iter()
        .map(|(package, elements)| format!("{} (in {package})", elements.join(", ")))
        .collect::<Vec<_>>();
    let packages = missing.keys().copied().collect::<Vec<_>>();
    Err(format!(
        "GStreamer elements are missing: {}. \"make demo\" installs them, and so does: \
         sudo apt-get install {}",
        list.join("; "),
        packages.join(" ")
    )
    .into())
}

fn is_missing(element: &str) -> bool {
    gst::ElementFactory::find(element).is_none()
}
