//! What can go wrong with CUDA.

use crate::uuid::Uuid;

/// Why memory of a CUDA device can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// This process can't use CUDA: it was built without, or there is no driver, or no device.
    #[error("CUDA is not available: {reason}")]
    Unavailable {
        /// What is missing.
        reason: String,
    },
    /// The frames are on a device that this process does not see.
    #[error(
        "the frames are on {device}, and this process sees {}: make that device visible \
         (CUDA_VISIBLE_DEVICES)", list(.visible)
    )]
    NotVisible {
        /// The device that the frames are on.
        device: Uuid,
        /// Those that this process sees.
        visible: Vec<Uuid>,
    },
    /// A call of the driver failed. A context whose device has failed does not recover: the process has to
    /// be started again.
    #[error("{call}: {name} ({code})")]
    Failed {
        /// The function of the driver.
        call: &'static str,
        /// Its answer, a `CUresult`.
        code: u32,
        /// The name of that.
        name: String,
    },
    /// The call would wait for frames that wait for the device, on the thread that publishes them: it is made
    /// by a value that goes with a frame ([`Publisher::import_frame`](crate::Publisher::import_frame)) and is
    /// dropped there.
    #[error(
        "frames that wait for the device come before this one, and this is the thread that publishes them: \
         use publish_after"
    )]
    OnCompletionThread,
}

impl CudaError {
    pub(crate) fn unavailable(reason: impl Into<String>) -> CudaError {
        CudaError::Unavailable {
            reason: reason.into(),
        }
    }
}

fn list(visible: &[Uuid]) -> String {
    match visible {
        [] => "no device".into(),
        some => {
            let names: Vec<String> = some.iter().map(Uuid::to_string).collect();
            names.join(", ")
        }
    }
}
