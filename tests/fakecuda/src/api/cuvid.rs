//! `libnvcuvid.so.1`, the decoder. GStreamer's plugin for CUDA registers nothing without that
//! library. No decoder is supported, so that it registers none, but all other elements.

use crate::result::Code;

/// Functions that are not supported.
macro_rules! not_supported {
    ($($name:ident)*) => {
        entry_points! {
            $(Nothing fn $name() { Err(Code::NOT_SUPPORTED) })*
        }
    };
}

not_supported! {
    cuvidCtxLockCreate
    cuvidCtxLockDestroy
    cuvidCtxLock
    cuvidCtxUnlock
    cuvidGetDecoderCaps
    cuvidCreateDecoder
    cuvidReconfigureDecoder
    cuvidDestroyDecoder
    cuvidDecodePicture
    cuvidGetDecodeStatus
    cuvidMapVideoFrame
    cuvidMapVideoFrame64
    cuvidUnmapVideoFrame
    cuvidUnmapVideoFrame64
    cuvidCreateVideoParser
    cuvidParseVideoData
    cuvidDestroyVideoParser
}
