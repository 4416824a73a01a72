//! What an error is, as a number and a name that do not change.

use super::Error;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $number:literal, $name:literal;)*) => {
        /// What an [`Error`] is, without its details: for bindings to other languages, which map it to an
        /// exception or a code.
        ///
        /// Numbers and names stay as they are; later versions may add some.
        ///
        /// # Examples
        ///
        /// ```
        /// use xmem_core::{BufferMeta, DType, ErrorKind};
        ///
        /// let error = BufferMeta::tensor(DType::UInt8, &[1; 9]).unwrap_err();
        /// assert_eq!(error.kind(), ErrorKind::InvalidShape);
        /// assert_eq!(error.kind().name(), "invalid_shape");
        /// assert_eq!(error.kind() as u32, 9);
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $kind = $number,)*
        }

        impl ErrorKind {
            /// Every kind, in the order of its number.
            pub const ALL: &[ErrorKind] = &[$(ErrorKind::$kind),*];

            /// The kind's name, in lower case with underscores.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ErrorKind::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// [`Error::TimedOut`]
    TimedOut = 1, "timed_out";
    /// [`Error::Cancelled`]
    Cancelled = 2, "cancelled";
    /// [`Error::EndOfStream`]
    EndOfStream = 3, "end_of_stream";
    /// [`Error::Stopped`]
    Stopped = 4, "stopped";
    /// [`Error::Disconnected`]
    Disconnected = 5, "disconnected";
    /// [`Error::Starved`]
    Starved = 6, "starved";
    /// [`Error::Exhausted`]
    Exhausted = 7, "exhausted";
    /// [`Error::ResourceExhausted`]
    ResourceExhausted = 8, "resource_exhausted";
    /// [`Error::InvalidShape`]
    InvalidShape = 9, "invalid_shape";
    /// [`Error::TypeMismatch`]
    TypeMismatch = 10, "type_mismatch";
    /// [`Error::WrongStorage`]
    WrongStorage = 11, "wrong_storage";
    /// [`Error::NotMapped`]
    NotMapped = 12, "not_mapped";
    /// [`Error::UnsealedMemory`]
    UnsealedMemory = 13, "unsealed_memory";
    /// [`Error::InvalidSetting`]
    InvalidSetting = 14, "invalid_setting";
    /// [`Error::BadPath`]
    BadPath = 15, "bad_path";
    /// [`Error::InUse`]
    InUse = 16, "in_use";
    /// [`Error::NoProducer`]
    NoProducer = 17, "no_producer";
    /// [`Error::NoAnswer`]
    NoAnswer = 18, "no_answer";
    /// [`Error::Refused`]
    Refused = 19, "refused";
    /// [`Error::Protocol`]
    Protocol = 20, "protocol";
    /// [`Error::Failed`]
    Failed = 21, "failed";
    /// [`Error::Forked`]
    Forked = 22, "forked";
    /// [`Error::SharedMemory`]
    SharedMemory = 23, "shared_memory";
    /// [`Error::Socket`]
    Socket = 24, "socket";
    /// [`Error::TooLong`]
    TooLong = 25, "too_long";
    /// [`Error::BadMemory`]
    BadMemory = 26, "bad_memory";
    /// [`Error::Cuda`]
    Cuda = 27, "cuda";
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Error {
    /// What the error is, without its details.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::TimedOut => ErrorKind::TimedOut,
            Error::Cancelled => ErrorKind::Cancelled,
            Error::EndOfStream => ErrorKind::EndOfStream,
            Error::Stopped => ErrorKind::Stopped,
            Error::Disconnected(_) => ErrorKind::Disconnected,
            Error::Starved { .. } => ErrorKind::Starved,
            Error::Exhausted { .. } => ErrorKind::Exhausted,
            Error::ResourceExhausted { .. } => ErrorKind::ResourceExhausted,
            Error::InvalidShape(_) => ErrorKind::InvalidShape,
            Error::TypeMismatch { .. } => ErrorKind::TypeMismatch,
            Error::WrongStorage(_) => ErrorKind::WrongStorage,
            Error::NotMapped => ErrorKind::NotMapped,
            Error::UnsealedMemory { .. } => ErrorKind::UnsealedMemory,
            Error::InvalidSetting { .. } => ErrorKind::InvalidSetting,
            Error::BadPath { .. } => ErrorKind::BadPath,
            Error::InUse { .. } => ErrorKind::InUse,
            Error::NoProducer { .. } => ErrorKind::NoProducer,
            Error::NoAnswer { .. } => ErrorKind::NoAnswer,
            Error::Refused(_) => ErrorKind::Refused,
            Error::Protocol(_) => ErrorKind::Protocol,
            Error::Failed(_) => ErrorKind::Failed,
            Error::Forked => ErrorKind::Forked,
            Error::SharedMemory { .. } => ErrorKind::SharedMemory,
            Error::Socket { .. } => ErrorKind::Socket,
            Error::TooLong { .. } => ErrorKind::TooLong,
            Error::BadMemory(_) => ErrorKind::BadMemory,
            Error::Cuda(_) => ErrorKind::Cuda,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Setting;

    #[test]
    fn a_kind_is_named_as_its_variant_and_numbers_have_no_gap() {
        for (kind, number) in ErrorKind::ALL.iter().zip(1..) {
            assert_eq!(*kind as u32, number);
            let variant = format!("{kind:?}").to_lowercase();
            assert_eq!(kind.name().replace('_', ""), variant);
        }
    }

    #[test]
    fn a_setting_out_of_its_range_is_named_with_the_range() {
        let text = |value, range| {
            let setting = Setting::MaxSlots;
            Error::check_setting(setting, value, range).map_err(|error| error.to_string())
        };
        assert_eq!(text(4, 1..=4), Ok(()));
        let (bounded, unbounded) = (text(5, 1..=4), text(0, 1..=u64::MAX));
        assert_eq!(bounded, Err("max_slots must be 1 to 4 (is 5)".into()));
        assert_eq!(unbounded, Err("max_slots must be at least 1 (is 0)".into()));
    }

    #[test]
    fn a_cause_is_told_once() {
        let answer = || std::io::Error::from_raw_os_error(71);
        for error in [
            Error::memory("sealing")(answer()),
            Error::socket("poll")(answer()),
            Error::socket("poll")(std::io::Error::from_raw_os_error(12)),
        ] {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let told = error.to_string();
            assert!(
                source.is_none_or(|source| !told.contains(&source)),
                "{told}"
            );
        }
    }
}
