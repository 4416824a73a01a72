//! The settings that errors name.

/// A setting that an error names: a method of [`PublisherBuilder`](crate::PublisherBuilder) or
/// [`SubscriberBuilder`](crate::SubscriberBuilder), or a field of [`Quota`](crate::Quota).
///
/// A binding, which calls its settings otherwise, writes its texts with this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// [`PublisherBuilder::slots`](crate::PublisherBuilder::slots)
    Slots,
    /// [`PublisherBuilder::slot_size`](crate::PublisherBuilder::slot_size)
    SlotSize,
    /// [`PublisherBuilder::max_slots`](crate::PublisherBuilder::max_slots)
    MaxSlots,
    /// [`PublisherBuilder::max_bytes`](crate::PublisherBuilder::max_bytes)
    MaxBytes,
    /// [`PublisherBuilder::max_clients`](crate::PublisherBuilder::max_clients)
    MaxClients,
    /// [`SubscriberBuilder::leases`](crate::SubscriberBuilder::leases), and
    /// [`Quota::leases`](crate::Quota::leases)
    Leases,
    /// [`Quota::backlog`](crate::Quota::backlog)
    Backlog,
}

impl Setting {
    /// The name of the method or the field.
    pub fn name(self) -> &'static str {
        match self {
            Setting::Slots => "slots",
            Setting::SlotSize => "slot_size",
            Setting::MaxSlots => "max_slots",
            Setting::MaxBytes => "max_bytes",
            Setting::MaxClients => "max_clients",
            Setting::Leases => "leases",
            Setting::Backlog => "backlog",
        }
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
