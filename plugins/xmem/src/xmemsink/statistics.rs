//! The property `stats`.

use std::sync::atomic::Ordering;

use super::stream::Stream;

/// Adds the statistics of a stream to those of the base class.
pub(super) fn add(stats: &mut gst::Structure, stream: &Stream) {
    let figures = stream.publisher.stats();
    let counters = &stream.counters;
    let late = stats.get::<u64>("dropped").unwrap_or(0);
    let clients = figures.clients.iter().map(|client| {
        gst::Structure::builder("client")
            .field("id", client.id.get())
            .field("name", &client.name)
            .field("pid", client.pid.unwrap_or(0))
            .field("uid", client.uid)
            .field(
                "delivery",
                match client.delivery {
                    xmem_core::Delivery::Latest => "latest",
                    _ => "in-order",
                },
            )
            .field("leases", client.quota.leases)
            .field("backlog", client.quota.backlog)
            .field("held", client.held)
            .field("lag", client.lag)
            .field("missed", client.missed)
            .field("lagging", client.lagging)
            .field("takes-unsealed", client.takes_unsealed)
            .build()
    });
    stats.set("published", figures.published);
    stats.set("zero-copy", counters.zero_copy.load(Ordering::Relaxed));
    stats.set("imported", counters.imported.load(Ordering::Relaxed));
    stats.set("copied", counters.copied.load(Ordering::Relaxed));
    stats.set(
        "copied-bytes",
        counters.copied_bytes.load(Ordering::Relaxed),
    );
    stats.set(
        "copied-device",
        counters.copied_device.load(Ordering::Relaxed),
    );
    stats.set(
        "copied-device-bytes",
        counters.copied_device_bytes.load(Ordering::Relaxed),
    );
    stats.set("gpu-pending", figures.pending as u64);
    stats.set(
        "copied-for-unsealed",
        counters.unsealed.load(Ordering::Relaxed),
    );
    stats.set("dropped", late + counters.dropped.load(Ordering::Relaxed));
    stats.set(
        "refused-metas",
        counters.refused_metas.load(Ordering::Relaxed),
    );
    let memory = stream.memory();
    stats.set("storage", memory.caps.feature());
    if let Some(device) = memory.device {
        stats.set("device", device.to_string());
    }
    stats.set("slots", figures.slots);
    stats.set("slot-size", figures.slot_size.unwrap_or(0) as u64);
    stats.set("memory", figures.bytes + figures.departed_bytes);
    stats.set("clients", gst::Array::new(clients));
}
