//! The texts of the core's errors, with the names of properties.

use std::time::Duration;

use xmem_core::cuda::CudaError;
use xmem_core::{Disconnection, Error, Nearby, PathAdvice, Refusal, Resource, Setting};

/// `CUDA_ERROR_OUT_OF_MEMORY`
const CUDA_OUT_OF_MEMORY: u32 = 2;

/// The property that sets a setting of the core.
fn property(setting: Setting) -> &'static str {
    match setting {
        Setting::MaxSlots => "max-buffers",
        Setting::MaxBytes => "max-bytes",
        Setting::MaxClients => "max-clients",
        Setting::Leases => "max-leases",
        // The elements set these themselves.
        other => other.name(),
    }
}

/// Returns the text of an error of the core, with the names of properties.
pub(crate) fn text(error: &Error) -> String {
    match error {
        Error::InvalidSetting {
            setting,
            value,
            range,
        } => {
            let (least, most) = (range.start(), range.end());
            let range = if *most == u64::MAX {
                format!("at least {least}")
            } else {
                format!("{least} to {most}")
            };
            format!("{} must be {range} (is {value})", property(*setting))
        }
        Error::BadPath {
            path,
            reason,
            advice: Some(advice),
        } => format!("{}: {reason}: {}", path.display(), path_advice(*advice)),
        Error::ResourceExhausted { what, resource, .. } => {
            format!("{what}: {}", exhausted(*resource))
        }
        Error::InUse { path, pid } => {
            let owner = match pid {
                Some(pid) => format!("pid {pid}"),
                None => "in another PID namespace, or too busy to answer".into(),
            };
            format!(
                "{} belongs to a running producer ({owner}): stop it, or set another channel or \
                 socket-path",
                path.display()
            )
        }
        Error::NoProducer { path, waited } => format!(
            "no producer at {}{}: start one, or raise connection-timeout",
            path.display(),
            within(*waited)
        ),
        Error::NoAnswer { path, waited } => format!(
            "the producer at {} did not answer{}: it is stopped, or has no descriptors left; or \
             raise connection-timeout",
            path.display(),
            within(*waited)
        ),
        Error::Refused(refusal) => format!("refused by the producer: {}", refused(refusal)),
        Error::Disconnected(Disconnection::Evicted(refusal)) => {
            format!("the producer has evicted this client: {}", refused(refusal))
        }
        Error::Exhausted { slots, max } => format!(
            "the producer itself holds all {slots} slots, and max-buffers ({max}) allows no more: \
             raise max-buffers"
        ),
        Error::UnsealedMemory { clients } => format!(
            "{clients} client(s) take no memory that other processes may write or punch holes into: \
             copy the frame, or allow such memory in the clients (unsealed-memory)"
        ),
        Error::Cuda(error @ CudaError::Unavailable { .. }) => format!(
            "The frames are in memory of a GPU. {error}: put cudadownload before xmemsink to receive \
             them without CUDA"
        ),
        Error::Cuda(error @ CudaError::Failed { code, .. }) if *code == CUDA_OUT_OF_MEMORY => {
            format!("{error}: {}", exhausted(Resource::DeviceMemory))
        }
        Error::Cuda(error @ CudaError::Failed { .. }) => format!(
            "The CUDA device has failed: {error}. CUDA cannot be used in this process any more: start \
             it again"
        ),
        Error::Starved { leases } => format!(
            "the client holds all {leases} frames that it may: release buffers, or raise max-leases"
        ),
        other => other.to_string(),
    }
}

/// The time that was waited, if it was.
fn within(waited: Duration) -> String {
    if waited.is_zero() {
        String::new()
    } else {
        format!(" within {waited:?}")
    }
}

fn path_advice(advice: PathAdvice) -> String {
    match advice {
        PathAdvice::Writable => {
            "a producer needs a directory that its user can write. Make this one writable, or \
             choose another, which may be a subdirectory, with XMEM_RUNTIME_DIR (mode 0700) or \
             socket-path"
                .into()
        }
        PathAdvice::Own { uid } => format!(
            "to share a channel with other users, set socket-path, and set perms of xmemsink; else \
             set XMEM_RUNTIME_DIR to a directory of user {uid} with mode 0700, which may be a \
             subdirectory"
        ),
        PathAdvice::Private => {
            "chmod 700 it, or set XMEM_RUNTIME_DIR to a subdirectory with mode 0700; to share a \
             channel with other users, set socket-path, and set perms of xmemsink"
                .into()
        }
        other => other.to_string(),
    }
}

fn exhausted(resource: Resource) -> String {
    match resource {
        Resource::Memory => {
            "not enough memory, on this machine, in the control group or under RLIMIT_AS (ulimit \
             -v): allow more, or need less with smaller frames, lower max-leases or max-buffers"
                .into()
        }
        Resource::DeviceMemory => {
            "the device has not enough memory: end other programs that use it, or need less with \
             smaller frames, lower max-leases or max-buffers"
                .into()
        }
        Resource::Space => {
            "the file system is full, or has no inode left: make room, or choose another directory \
             with XMEM_RUNTIME_DIR or socket-path"
                .into()
        }
        other => other.to_string(),
    }
}

/// Returns the text of a refusal, with the names of properties.
pub(crate) fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::TooManyClients { clients, max } => {
            format!("it has {clients} of {max} clients: raise max-clients of the producer")
        }
        Refusal::TooFewSlots {
            leases,
            needed,
            allowed,
            limit,
            slot_size,
        } => {
            let each = match limit {
                Setting::MaxBytes => format!(" of {slot_size} bytes"),
                _ => String::new(),
            };
            let limit = property(*limit);
            format!(
                "with {leases} leases for one more client {needed} slots are needed in all, and \
                 {limit} allows {allowed}{each}: raise {limit} of the producer, or lower \
                 max-leases of the client"
            )
        }
        Refusal::UnsealedOnly => {
            "its frames are in memory that other processes may write (dmabufs), and can't be \
             copied: allow such memory in the client (unsealed-memory=always)"
                .into()
        }
        Refusal::CudaOnly { device } => format!(
            "its frames are in memory of the GPU {device}, which the element after xmemsrc does not \
             take: put cudadownload after xmemsrc"
        ),
        Refusal::Exhausted { what, resource } => {
            format!(
                "it can't take another client: {what}: {}",
                exhausted(*resource)
            )
        }
        other => other.to_string(),
    }
}

/// Returns the text about what there is in place of a channel, with the names of properties.
pub(super) fn nearby(found: &Nearby) -> String {
    match found {
        Nearby::Named {
            channel,
            socket_path,
        } => format!(
            "The channel {channel} has a producer at {}: set channel={channel} in place of \
             socket-path.",
            socket_path.display()
        ),
        Nearby::OtherUser {
            uid,
            channel,
            directory,
        } => format!(
            "User {uid} has a channel {channel} in {}: to share one between users, set socket-path \
             on both sides, and set perms of xmemsink.",
            directory.display()
        ),
        Nearby::ClosedDirectory { uid, directory } => format!(
            "User {uid} has a directory of channels too, {}, which this user may not look into: if \
             the producer runs as that user, set socket-path on both sides, and set perms of \
             xmemsink.",
            directory.display()
        ),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// The core's names of settings that are properties of another name.
    const SETTINGS: [&str; 6] = [
        "max_slots",
        "max_bytes",
        "max_clients",
        "connect_timeout",
        "unsealed_memory",
        "socket path",
    ];

    fn too_few_slots(limit: Setting) -> Refusal {
        Refusal::TooFewSlots {
            leases: 4,
            needed: 11,
            allowed: 10,
            limit,
            slot_size: 4096,
        }
    }

    fn errors(path: &str) -> Vec<Error> {
        let path = PathBuf::from(path);
        let refusals = [
            Refusal::TooManyClients {
                clients: 16,
                max: 16,
            },
            too_few_slots(Setting::MaxSlots),
            too_few_slots(Setting::MaxBytes),
            Refusal::UnsealedOnly,
            Refusal::CudaOnly {
                device: "a GPU".into(),
            },
            Refusal::Exhausted {
                what: "making 4 slots".into(),
                resource: Resource::Memory,
            },
        ];
        let advice = [
            PathAdvice::Writable,
            PathAdvice::Own { uid: 1000 },
            PathAdvice::Private,
        ];
        let bad_paths = advice.map(|advice| Error::BadPath {
            path: path.clone(),
            reason: "making a socket there".into(),
            advice: Some(advice),
        });
        let settings = [
            Setting::MaxSlots,
            Setting::MaxBytes,
            Setting::MaxClients,
            Setting::Leases,
        ];
        let settings = settings.map(|setting| Error::InvalidSetting {
            setting,
            value: 0,
            range: 1..=u64::MAX,
        });
        let resources = [Resource::Memory, Resource::DeviceMemory, Resource::Space];
        let resources = resources.map(|resource| Error::ResourceExhausted {
            what: "making slots".into(),
            resource,
            source: std::io::Error::from_raw_os_error(12),
        });
        let mut errors = vec![
            Error::InUse {
                path: path.clone(),
                pid: Some(7),
            },
            Error::NoProducer {
                path: path.clone(),
                waited: Duration::ZERO,
            },
            Error::NoAnswer {
                path,
                waited: Duration::from_millis(50),
            },
            Error::Exhausted { slots: 4, max: 4 },
            Error::UnsealedMemory { clients: 2 },
        ];
        errors.extend(refusals.iter().cloned().map(Error::Refused));
        let evicted = refusals.map(Disconnection::Evicted);
        errors.extend(evicted.map(Error::Disconnected));
        errors.extend(bad_paths);
        errors.extend(settings);
        errors.extend(resources);
        errors
    }

    #[test]
    fn no_text_names_a_setting_that_is_a_property_of_another_name() {
        for error in errors("/run/cam0.sock") {
            let text = text(&error);
            for setting in SETTINGS {
                assert!(!text.contains(setting), "{text}");
            }
        }
    }

    #[test]
    fn a_path_that_contains_the_name_of_a_setting_is_named_as_it_is() {
        let path = "/run/max_slots and connect_timeout/a socket path.sock";
        let mut named = 0;
        for error in errors(path) {
            let is_of_it = format!("{error:?}").contains(path);
            let text = text(&error);
            assert_eq!(text.contains(path), is_of_it, "{text}");
            named += u32::from(is_of_it);
        }
        assert_eq!(named, 6);
    }

    #[test]
    fn a_text_says_which_property_to_set_and_how_far_it_goes() {
        let text_of = |refusal: Refusal| text(&Error::Refused(refusal));
        let too_few = text_of(too_few_slots(Setting::MaxBytes));
        assert!(too_few.ends_with(
            "max-bytes allows 10 of 4096 bytes: raise max-bytes of the producer, or lower \
             max-leases of the client"
        ));
        let error = Error::Exhausted { slots: 4, max: 4 };
        assert!(error.to_string().contains("max_slots"));
        assert!(text(&error).ends_with("max-buffers (4) allows no more: raise max-buffers"));
        let error = Error::NoProducer {
            path: "cam0.sock".into(),
            waited: Duration::ZERO,
        };
        assert!(text(&error).ends_with("raise connection-timeout"));
    }

    #[test]
    fn a_device_without_memory_has_not_failed() {
        let failed = |code| {
            let (call, name) = ("cuMemMap", "CUDA_ERROR".into());
            text(&Error::Cuda(CudaError::Failed { call, code, name }))
        };
        assert!(failed(700).ends_with("start it again"));
        let exhausted = failed(CUDA_OUT_OF_MEMORY);
        assert!(exhausted.contains("not enough memory"), "{exhausted}");
        assert!(!exhausted.contains("start it again"), "{exhausted}");
    }
}
