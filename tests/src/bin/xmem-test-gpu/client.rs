//! The client.

use std::collections::VecDeque;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cudarc::driver::result::{free_sync, malloc_sync, memcpy_dtod_async, memset_d8_async};
use cudarc::driver::sys::{CUDA_MEMCPY2D, CUmemorytype, cuMemcpy2D_v2};
use cudarc::driver::{CudaContext, CudaStream};
use xmem_core::cuda::{Device, Work};
use xmem_core::{Channel, Error, Frame, Item, Subscriber, UnsealedMemory};
use xmem_tests::Line;
use xmem_tests::forked::in_child;
use xmem_tests::gpu::{CHANNEL, Consume};

use super::settings::Settings;
use super::{Result, Role};

/// What a client copies frames with.
pub struct Gpu {
    stream: Arc<CudaStream>,
    address: u64,
    size: usize,
}

impl Gpu {
    pub fn new(device: &Device, size: usize) -> Result<Gpu> {
        let stream = CudaContext::new(device.ordinal() as usize)?.new_stream()?;
        // SAFETY: it is freed once, in the drop.
        let address = unsafe { malloc_sync(size) }?;
        Ok(Gpu {
            stream,
            address,
            size,
        })
    }

    /// Copies a frame on the stream, and releases it after that.
    pub fn release(&self, frame: Frame) -> Result<()> {
        let device = frame.device().ok_or("a frame without a device")?.clone();
        let address = frame.device_address().ok_or("a frame without an address")?;
        let size = frame.meta().size() as usize;
        let stream = self.stream.cu_stream();
        // SAFETY: both have so many bytes, and the frame stays until this work is done.
        unsafe { memcpy_dtod_async(self.address, address, size, stream) }?;
        // SAFETY: the stream is of the primary context, and lives as long as this.
        let work = unsafe { Work::on_stream(&device, stream.cast()) };
        Ok(frame.release_after(&work)?)
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        let _ = self.stream.synchronize();
        // SAFETY: it was allocated once, and the stream does nothing with it any more.
        let _ = unsafe { free_sync(self.address) };
    }
}

pub struct Client {
    settings: Settings,
    subscriber: Option<Subscriber>,
    /// A connection beside that one.
    beside: Option<Subscriber>,
    frames: VecDeque<Frame>,
    /// Flushes that it was told of.
    flushes: Arc<AtomicU64>,
    gpu: Option<Gpu>,
}

impl Client {
    pub fn connect(settings: Settings) -> Result<Client> {
        let mut client = Client {
            subscriber: None,
            beside: None,
            frames: VecDeque::new(),
            flushes: Arc::default(),
            gpu: None,
            settings,
        };
        match (
            client.settings.text("beside"),
            client.settings.text("channel"),
        ) {
            (Some(name), _) => client.beside = Some(client.subscribe(name)?),
            (None, Some("none")) => {}
            (None, name) => client.subscriber = Some(client.subscribe(name.unwrap_or(CHANNEL))?),
        }
        Ok(client)
    }

    fn subscribe(&self, channel: &str) -> Result<Subscriber> {
        let settings = &self.settings;
        let flushes = self.flushes.clone();
        let mut builder = Subscriber::builder(Channel::name(channel))
            .device_memory(settings.text("device_memory") != Some("no"))
            .on_urgent(move |_| {
                flushes.fetch_add(1, Ordering::Relaxed);
            });
        if let Some(leases) = settings.number("leases") {
            builder = builder.leases(leases as u32);
        }
        if settings.text("unsealed") == Some("never") {
            builder = builder.unsealed_memory(UnsealedMemory::Never);
        }
        Ok(builder.connect()?)
    }

    fn subscriber(&mut self) -> Result<&mut Subscriber> {
        Ok(self.subscriber.as_mut().ok_or("it has left")?)
    }

    fn oldest(&self) -> Result<&Frame> {
        Ok(self.frames.front().ok_or("no frame is kept")?)
    }

    /// Copies a frame on the stream, and releases it after that.
    fn release(&mut self, frame: Frame) -> Result<()> {
        let device = frame.device().ok_or("a frame without a device")?;
        let size = frame.meta().size() as usize;
        let gpu = match self.gpu.take().filter(|gpu| gpu.size >= size) {
            Some(gpu) => gpu,
            None => Gpu::new(device, size)?,
        };
        self.gpu.insert(gpu).release(frame)
    }

    /// The value of all bytes of a frame.
    fn value(frame: &Frame) -> Result<Option<u8>> {
        let mut bytes = vec![0; frame.meta().size() as usize];
        frame.copy_to_host(0, &mut bytes)?;
        let first = bytes.first().copied();
        Ok(first.filter(|first| bytes.iter().all(|byte| byte == first)))
    }

    /// Whether words of a frame have its position: the first, the last, and those at equal distances
    /// before the last.
    fn is_numbered(frame: &Frame) -> Result<bool> {
        const WORDS: usize = 64;
        let address = frame.device_address().ok_or("a frame without an address")?;
        let last = (frame.meta().size() as usize).checked_sub(4);
        let last = last.ok_or("a frame without a word")?;
        let pitch = last / WORDS / 4 * 4;
        let mut bytes = [0; 4 * (1 + WORDS)];
        let (first, others) = bytes.split_at_mut(4);
        frame.copy_to_host(0, first)?;
        let copy = CUDA_MEMCPY2D {
            srcXInBytes: 0,
            srcY: 0,
            srcMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
            srcHost: null(),
            srcDevice: address + (last - pitch * (WORDS - 1)) as u64,
            srcArray: null_mut(),
            srcPitch: pitch,
            dstXInBytes: 0,
            dstY: 0,
            dstMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
            dstHost: others.as_mut_ptr().cast(),
            dstDevice: 0,
            dstArray: null_mut(),
            dstPitch: 4,
            WidthInBytes: 4,
            Height: WORDS,
        };
        let context = CudaContext::new(0)?;
        context.bind_to_thread()?;
        // SAFETY: the words are in the frame, and there is room for them. The copy is done when the call
        // returns, because the memory of the host is pageable.
        unsafe { cuMemcpy2D_v2(&copy) }.result()?;
        let number = (frame.seq() as u32).to_ne_bytes();
        Ok(bytes.chunks(4).all(|word| word == number))
    }

    /// Receives frames until the stream or the connection ends. Each is right or torn.
    fn run(&mut self, is_right: impl Fn(&Frame) -> Result<bool>) -> Result<Line> {
        let (mut count, mut missed, mut torn) = (0u64, 0, 0u64);
        let end = loop {
            match self.subscriber()?.receive_item(None) {
                Ok(Item::Frame(frame)) => {
                    count += 1;
                    missed += frame.missed();
                    torn += u64::from(!is_right(&frame)?);
                    self.release(frame)?;
                }
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        let line = Line::default()
            .with("count", count)
            .with("missed", missed)
            .with("torn", torn);
        Ok(line.with("kind", end.kind().name()))
    }

    /// Returns whether a child can use nothing of what it has.
    fn fork_and_drop(&mut self) -> bool {
        in_child(|| {
            let Some(subscriber) = &mut self.subscriber else {
                return false;
            };
            let received = subscriber.receive(Some(Duration::ZERO));
            let mut frames = std::mem::take(&mut self.frames).into_iter();
            let Some(frame) = frames.next() else {
                return false;
            };
            let is_read = Client::value(&frame).is_ok();
            let device = frame.device().cloned().expect("frames are on a device");
            let is_released = frame.release_after(&Work::default_stream(&device)).is_ok();
            drop(frames);
            self.subscriber = None;
            matches!(received, Err(Error::Forked)) && !is_read && !is_released
        })
    }

    fn receive(&mut self, milliseconds: u64) -> Result<Line> {
        let patience = Some(Duration::from_millis(milliseconds));
        let line = Line::default();
        match self.subscriber()?.receive_item(patience)? {
            Item::Frame(frame) => {
                let uuid = frame.device().map(Device::uuid);
                let line = line
                    .with("kind", "frame")
                    .with("seq", frame.seq())
                    .with("missed", frame.missed())
                    .with("address", frame.device_address().unwrap_or(0))
                    .with(
                        "device",
                        uuid.map_or("none".into(), |uuid| uuid.to_string()),
                    )
                    .with("read_only", u8::from(frame.is_device_read_only()));
                self.frames.push_back(frame);
                Ok(line)
            }
            Item::Event(event) => {
                let text = String::from_utf8_lossy(event.content()).into_owned();
                let what = event.kind().name();
                Ok(line
                    .with("kind", "event")
                    .with("what", what)
                    .with("text", text))
            }
            other => Err(format!("{other:?}").into()),
        }
    }
}

impl Role for Client {
    type Order = Consume;

    fn obey(&mut self, order: &Consume) -> Result<Line> {
        let line = Line::default();
        match order {
            Consume::Connect(channel) => {
                self.subscriber = None;
                self.subscriber = Some(self.subscribe(channel)?);
            }
            Consume::Receive(milliseconds) => return self.receive(*milliseconds),
            Consume::Beside => {
                let beside = self.beside.as_mut().ok_or("it has one connection")?;
                let frame = beside.receive(Some(Duration::from_secs(60)))?;
                let value = Client::value(&frame)?;
                return Ok(line.with("all", value.ok_or("a torn frame")?));
            }
            Consume::Run => {
                return self.run(|frame| Ok(Client::value(frame)? == Some(frame.seq() as u8)));
            }
            Consume::Compare => return self.run(Client::is_numbered),
            Consume::Look => {
                return Ok(match Client::value(self.oldest()?)? {
                    Some(value) => line.with("all", value),
                    None => line,
                });
            }
            Consume::Release => {
                let frame = self.frames.pop_front().ok_or("no frame is kept")?;
                self.release(frame)?;
            }
            Consume::Drop => drop(self.frames.pop_front().ok_or("no frame is kept")?),
            Consume::Write => {
                let frame = self.oldest()?;
                let address = frame.device_address().ok_or("a frame without an address")?;
                let stream = CudaContext::new(0)?.default_stream();
                // SAFETY: there are so many bytes; the device may refuse the write.
                unsafe { memset_d8_async(address, 9, 8, stream.cu_stream()) }?;
                stream.synchronize()?;
            }
            Consume::ReadByCpu => {
                let bytes = self.oldest()?.payload()?.to_vec();
                let all = bytes.iter().all(|byte| byte == &bytes[0]);
                return Ok(if all {
                    line.with("all", bytes[0])
                } else {
                    line
                });
            }
            Consume::ForkAndDrop => return Ok(line.with("well", self.fork_and_drop())),
            Consume::Stats => {
                let free = self.subscriber()?.free_leases();
                let flushes = self.flushes.load(Ordering::Relaxed);
                return Ok(line.with("free", free).with("flushes", flushes));
            }
            Consume::Leave => self.subscriber = None,
        }
        Ok(line)
    }
}
