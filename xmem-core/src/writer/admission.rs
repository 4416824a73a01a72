//! Taking clients in, a step at a time.

use super::Writer;
use super::making::{Coming, Made, Making};
use crate::clients::Client;
use crate::error::{Error, Refusal, Result};
use crate::pool::filling::Filling;
use crate::pool::{JoinPoint, Pool};

/// A client that is being taken in.
pub(crate) struct Admission {
    client: Box<Client>,
    /// Slots for its leases, where there are too few.
    making: Option<Making>,
    /// How many were made for it, and of which size.
    made: (u32, usize),
}

/// What a step of that has come to.
pub(crate) enum Step {
    /// It is in the scan.
    Joined(JoinPoint),
    /// There is more to do.
    More(Admission),
}

impl Admission {
    pub(crate) fn of(client: Client) -> Admission {
        Admission {
            client: Box::new(client),
            making: None,
            made: (0, 0),
        }
    }

    /// What is being made for it.
    pub(crate) fn making(&self) -> Option<&Making> {
        self.making.as_ref()
    }

    /// Bytes that are still to be made for it; `None` where that is not begun.
    pub(crate) fn left(&self) -> Option<usize> {
        self.making().map(Making::left)
    }
}

impl Writer {
    /// Takes a client in, a step at a time: the slots for its leases are made first. Meanwhile neither
    /// the writer nor other clients wait for that, but those for whose slots there is no room beside
    /// those that are `coming`. What comes soon may be enough for one more: that is waited for, too.
    pub(crate) fn admit(&self, mut admission: Admission, coming: &Coming) -> Result<Step> {
        if let Some(making) = admission.making.take() {
            match self.go_on_making(making)? {
                Made::All(made) => admission.made.0 += made,
                Made::Part(unfinished) => {
                    admission.making = Some(unfinished);
                    return Ok(Step::More(admission));
                }
            }
        }
        // The writer counts on what is coming.
        let growing = self.lock_growing();
        let next = growing.with_pool(|pool| next(pool, admission, coming));
        let (mut admission, size, growth) = match next {
            Next::Joined(start) => {
                self.wake_word.signal();
                return Ok(Step::Joined(start));
            }
            Next::Refused(admission, refusal) => {
                drop(admission);
                return Err(Error::Refused(refusal));
            }
            Next::Wait(admission) => return Ok(Step::More(admission)),
            Next::Make(admission, size, growth) => (admission, size, growth),
        };
        match self.start_making(&growing, size, growth)? {
            Some(making) => {
                admission.making = Some(making);
                Ok(Step::More(admission))
            }
            None => Err(Error::Refused(Refusal::Other {
                text: "the producer has no slot numbers left now".into(),
                retryable: true,
            })),
        }
    }
}

/// What comes next in taking a client in. It is handed back with a refusal, to be dropped without the lock.
enum Next {
    Joined(JoinPoint),
    Refused(Admission, Refusal),
    /// Slots that others are making may be enough.
    Wait(Admission),
    /// Slots of this size have to be made: the fewest, and the most.
    Make(Admission, usize, (u32, u32)),
}

fn next(pool: &mut Pool, mut admission: Admission, coming: &Coming) -> Next {
    if let Some(refusal) = pool.refuses(admission.client.identity.takes) {
        return Next::Refused(admission, refusal);
    }
    let leases = admission.client.page.leases();
    if let Some(refusal) = pool.why_not(leases) {
        return Next::Refused(admission, refusal);
    }
    let size = pool.slot_size();
    if admission.made.1 != size {
        // Those that were made are too small by now.
        admission.made = (0, size);
    }
    let missing = pool.missing_for(leases, admission.made.0);
    if missing == 0 || size == 0 {
        // Under the same lock: no other client can count on these slots.
        let start = pool.add_client(*admission.client);
        if pool.missing() > 0 {
            // Of those for others, perhaps.
            pool.filling = Filling::Due;
        }
        return Next::Joined(start);
    }
    let (least, most) = pool.growth(missing);
    let left = pool.limit().saturating_sub(pool.count() + coming.slots());
    if least > left || coming.is_soon() {
        return Next::Wait(admission);
    }
    Next::Make(admission, size, (least, most.min(left)))
}
