//! The formats of pictures that CUDA memory can have.

use gst_video::VideoFormat;
use gst_video::VideoFormat::*;

/// Those of GStreamer 1.22, which ends the process for another.
pub(super) const BEFORE_24: &[VideoFormat] = &[
    I420, Yv12, I42010le, Y42b, I42210le, I42212le, Nv12, Nv21, P01010le, P016Le, Y444, Y44416le,
    Rgbp, Bgrp, Gbr, Gbra, Bgra, Rgba, Rgbx, Bgrx, Argb, Abgr, Rgb, Bgr, Bgr10a2Le, Rgb10a2Le,
    Yuy2, Uyvy,
];
