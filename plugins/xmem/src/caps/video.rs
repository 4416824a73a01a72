//! GStreamer's video infos as those of `xmem-media`.

use glib::translate::IntoGlib;
use gst_video::VideoInterlaceMode as Mode;
use xmem_media::video::{
    ALPHA, COMPLEX, Component, GRAY, Interlacing, LE, MAX_PLANES, PALETTE, RGB, TILED, VideoFormat,
    VideoInfo, YUV,
};

/// What GStreamer says of raw video.
pub(crate) fn describe(info: &gst_video::VideoInfo) -> VideoInfo {
    let number = info.format().into_glib() as u32;
    let known = VideoFormat::numbered(number).copied();
    let is_known = |known: &VideoFormat| known.name == info.format().to_str().as_str();
    let offset = |at| info.offset().get(at).map_or(0, |&offset| offset as u64);
    VideoInfo {
        format: known.filter(is_known).unwrap_or_else(|| described(info)),
        width: info.width(),
        height: info.height(),
        interlacing: match info.interlace_mode() {
            Mode::Interleaved => Interlacing::Interleaved,
            Mode::Mixed => Interlacing::Mixed,
            Mode::Fields => Interlacing::Fields,
            Mode::Alternate => Interlacing::Alternate,
            _ => Interlacing::Progressive,
        },
        offset: std::array::from_fn(offset),
        stride: std::array::from_fn(|at: usize| info.stride().get(at).copied().unwrap_or(0)),
        size: info.size() as u64,
    }
}

/// A picture of this format and size, as GStreamer lays it out.
pub(crate) fn usual(
    format: &VideoFormat,
    (width, height): (u32, u32),
    like: &gst_video::VideoInfo,
) -> Option<VideoInfo> {
    let format = gst_video::VideoFormat::from_string(format.name);
    if format == gst_video::VideoFormat::Unknown {
        return None;
    }
    let info = gst_video::VideoInfo::builder(format, width, height);
    let info = info.interlace_mode(like.interlace_mode()).build().ok()?;
    Some(describe(&info)).filter(VideoInfo::is_sound)
}

/// The format as GStreamer describes it, which may be newer than `xmem-media`.
fn described(info: &gst_video::VideoInfo) -> VideoFormat {
    let format = info.format_info();
    let flags = YUV | RGB | GRAY | ALPHA | LE | PALETTE | COMPLEX | TILED;
    let flags = format.flags().bits() & flags;
    let number = info.format().into_glib() as u32;
    let start = VideoFormat::new(number, info.format().to_str().as_str(), flags);
    let components = (0..format.n_components() as usize).take(MAX_PLANES);
    components.fold(start, |start, at| {
        start.with(Component {
            depth: format.depth()[at] as u8,
            shift: format.shift()[at] as u8,
            pixel_stride: format.pixel_stride()[at] as u8,
            plane: format.plane()[at] as u8,
            offset: format.poffset()[at] as u8,
            width_shift: format.w_sub()[at] as u8,
            height_shift: format.h_sub()[at] as u8,
        })
    })
}

#[cfg(test)]
mod tests {
    use gst_video::VideoFormat as Format;

    use super::*;

    #[test]
    fn the_table_of_formats_is_that_of_gstreamer() {
        gst::init().unwrap();
        let modes = [
            (Mode::Progressive, Interlacing::Progressive),
            (Mode::Interleaved, Interlacing::Interleaved),
            (Mode::Alternate, Interlacing::Alternate),
        ];
        let mut others = std::collections::BTreeSet::new();
        for format in Format::iter_raw() {
            let known = VideoFormat::named(format.to_str()).expect("it is in the table");
            for (width, height) in [(1, 1), (2, 3), (7, 5), (64, 48), (321, 243), (1920, 1080)] {
                for (mode, interlacing) in modes {
                    let info = gst_video::VideoInfo::builder(format, width, height);
                    let info = info.interlace_mode(mode).build().unwrap();
                    let told = described(&info);
                    // Older versions forget the alpha of AV12.
                    let forgotten = if format == Format::Av12 { ALPHA } else { 0 };
                    let flags = told.flags | forgotten;
                    assert_eq!(
                        (told.number, flags),
                        (known.number, known.flags),
                        "{format}"
                    );
                    assert_eq!(told.components(), known.components(), "{format}");
                    let usual = VideoInfo::new(*known, width, height, interlacing);
                    if usual != Some(describe(&info)) {
                        others.insert(format.to_str().as_str());
                    }
                }
            }
        }
        // What 1.22 makes of these has another size since.
        others.retain(|&name| name != "NV12_16L32S" && name != "UYVP");
        assert!(others.is_empty(), "{others:?}");
    }
}
