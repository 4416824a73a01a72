//! How much of something this process may have.
#![allow(unsafe_code)]

/// The process's limit (`RLIMIT_*`); `None` where there is none, or the system does not tell: a
/// sandbox may refuse the call.
pub(crate) fn limit(resource: i32) -> Option<u64> {
    let mut limits = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // The type of the number depends on the libc.
    // SAFETY: the call writes to `limits` alone, any bit pattern is a value of its two integers.
    let result = unsafe { libc::getrlimit(resource as _, &raw mut limits) };
    (result == 0 && limits.rlim_cur != libc::RLIM_INFINITY).then_some(limits.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_and_one_that_there_is_not_is_none() {
        let descriptors = limit(libc::RLIMIT_NOFILE as i32).expect("every process has one");
        assert!((8..1 << 40).contains(&descriptors), "{descriptors}");
        assert_eq!(limit(12345), None);
    }
}
