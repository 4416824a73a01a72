//! Kernels, textures and OpenGL, which are not supported. GStreamer does not load without these
//! functions; none of them looks at an argument.

use crate::result::Code;

/// Functions that are not supported.
macro_rules! not_supported {
    ($($name:ident)*) => {
        entry_points! {
            $(Health fn $name() { Err(Code::NOT_SUPPORTED) })*
        }
    };
}

not_supported! {
    cuModuleLoadData
    cuModuleLoadDataEx
    cuModuleUnload
    cuModuleGetFunction
    cuModuleGetGlobal_v2
    cuLaunchKernel
    cuTexObjectCreate
    cuTexObjectDestroy
    cuGraphicsMapResources
    cuGraphicsUnmapResources
    cuGraphicsResourceSetMapFlags_v2
    cuGraphicsSubResourceGetMappedArray
    cuGraphicsResourceGetMappedPointer_v2
    cuGraphicsUnregisterResource
    cuGraphicsGLRegisterImage
    cuGraphicsGLRegisterBuffer
    cuGLGetDevices_v2
}
