//! CUDA contexts of GStreamer, which elements of a pipeline share.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use glib::translate::{ToGlibPtr, from_glib, from_glib_full};
use gst::ffi::GstObject;
use gst::prelude::*;
use once_cell::sync::OnceCell;
use xmem_core::cuda::{CudaError, Device, Work};

use super::functions::{Library, failed, library, unavailable};
use super::stream::Stream;
use crate::bindings;

type Result<T> = std::result::Result<T, CudaError>;

/// The type of a [`gst::Context`] that has a CUDA context (`GST_CUDA_CONTEXT_TYPE`).
const TYPE: &str = "gst.cuda.context";

/// A `GstCudaContext`. Two are equal if they are the same object.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    object: gst::Object,
    library: &'static Library,
    device: OnceCell<Device>,
    /// The object again, for events of the core, which may outlive this value.
    owner: Arc<dyn Any + Send + Sync>,
}

impl PartialEq for Context {
    fn eq(&self, other: &Context) -> bool {
        self.object == other.object
    }
}

impl Context {
    /// Takes a reference of its own.
    ///
    /// # Safety
    /// `context` must be null or point to a `GstCudaContext` that is alive.
    pub(super) unsafe fn borrow(
        library: &'static Library,
        context: *mut GstObject,
    ) -> Option<Context> {
        // SAFETY: the caller promises that the object is alive.
        let object = unsafe { bindings::reference(context) }?;
        Some(Context::of(library, object))
    }

    fn of(library: &'static Library, object: gst::Object) -> Context {
        Context {
            owner: Arc::new(object.clone()),
            object,
            library,
            device: OnceCell::new(),
        }
    }

    pub(super) fn as_ptr(&self) -> *mut GstObject {
        self.object.to_glib_none().0
    }

    /// Returns the GObject, for a pool that keeps a reference to it.
    pub(crate) fn object(&self) -> &gst::Object {
        &self.object
    }

    /// Returns the library that the context is of.
    pub(crate) fn library(&self) -> &'static Library {
        self.library
    }

    /// Returns the `CUcontext`. It lives as long as this context.
    pub(crate) fn handle(&self) -> *mut c_void {
        // SAFETY: the object is a `GstCudaContext`.
        unsafe { (self.library.functions.handle)(self.as_ptr()) }
    }

    /// Returns the number of the device in this process.
    pub(crate) fn ordinal(&self) -> u32 {
        self.object.property("cuda-device-id")
    }

    /// Returns the device. Only the first call on a value asks the driver, so keep the value where
    /// a frame would ask.
    ///
    /// # Errors
    /// Those of [`Device::get`].
    pub(crate) fn device(&self) -> Result<&Device> {
        self.device.get_or_try_init(|| Device::get(self.ordinal()))
    }

    /// Returns the work on a stream of this context; `None` is the default stream, on which elements
    /// work that have no stream.
    ///
    /// # Errors
    /// Those of [`device`](Context::device), and [`CudaError::Unavailable`] if the stream is of
    /// another context.
    pub(crate) fn work_on<'a>(&'a self, stream: Option<&'a Stream>) -> Result<Work<'a>> {
        let stream = self.stream_handle(stream)?;
        let device = self.device()?;
        // SAFETY: the context is one of the device, the stream is of the context, and both are
        // borrowed for as long as the result is.
        let work = unsafe { Work::in_context(device, self.handle(), stream) };
        Ok(work.owned_by(&self.owner))
    }

    /// Returns all work of this context, for memory that elements read on streams of theirs.
    ///
    /// # Errors
    /// Those of [`device`](Context::device).
    pub(crate) fn all_work(&self) -> Result<Work<'_>> {
        let device = self.device()?;
        // SAFETY: the context is one of the device, and is borrowed for as long as the result is.
        let work = unsafe { Work::all_in_context(device, self.handle()) };
        Ok(work.owned_by(&self.owner))
    }

    /// Makes a stream of this context, since GStreamer 1.24.
    ///
    /// # Errors
    /// [`CudaError::Unavailable`] before that, or if the driver refuses.
    pub(crate) fn new_stream(&self) -> Result<Stream> {
        // SAFETY: the object is a `GstCudaContext` that this value keeps alive.
        unsafe { Stream::of_context(self.library, self.as_ptr()) }
    }

    /// Returns the handle of a stream of this context, null for none.
    pub(super) fn stream_handle(&self, stream: Option<&Stream>) -> Result<*mut c_void> {
        match stream {
            None => Ok(null_mut()),
            Some(stream) if stream.is_of(self.as_ptr()) => Ok(stream.handle()),
            Some(_) => Err(unavailable("the stream is of another CUDA context")),
        }
    }

    /// Makes the context current on this thread until the result is dropped.
    ///
    /// # Errors
    /// [`CudaError::Unavailable`] if the driver refuses.
    pub(crate) fn push(&self) -> Result<Pushed<'_>> {
        // SAFETY: the object is a `GstCudaContext`.
        if unsafe { from_glib((self.library.functions.push)(self.as_ptr())) } {
            Ok(Pushed(self, PhantomData))
        } else {
            Err(failed("gst_cuda_context_push"))
        }
    }
}

/// A context that is current on this thread. Drop several in the reverse order.
pub(crate) struct Pushed<'a>(&'a Context, PhantomData<*const ()>);

impl Drop for Pushed<'_> {
    fn drop(&mut self) {
        // SAFETY: the context was pushed on this thread, which the value cannot leave. Null: the
        // handle is not needed.
        unsafe { (self.0.library.functions.pop)(null_mut()) };
    }
}

/// A search of GStreamer for a context, which runs on this thread.
#[derive(Clone, Copy)]
struct Search {
    /// The address of the [`ElementContext`] it is for.
    of: *const ElementContext,
    /// Where GStreamer looks whether there is one.
    found: *mut *mut GstObject,
    device: c_int,
}

thread_local! {
    static SEARCH: Cell<Option<Search>> = const { Cell::new(None) };
}

/// The CUDA context of an element: the one that the application or another element of the pipeline
/// has set, or one that was made for the element.
#[derive(Debug, Default)]
pub(crate) struct ElementContext(Mutex<Option<Context>>);

impl ElementContext {
    fn lock(&self) -> MutexGuard<'_, Option<Context>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the context, if there is one.
    pub(crate) fn get(&self) -> Option<Context> {
        self.lock().clone()
    }

    /// Forgets the context, when the element stops.
    pub(crate) fn clear(&self) {
        // Freed without the lock.
        let context = self.lock().take();
        drop(context);
    }

    /// Returns the context of a device, of any device for `None`. If there is none, it asks the
    /// neighbours and the application, and makes one if they have none. They call [`set`] meanwhile,
    /// so no lock that `set_context` of the element takes may be held.
    ///
    /// [`set`]: ElementContext::set
    ///
    /// # Errors
    /// Those of [`library`], and [`CudaError::Unavailable`] if no context can be made.
    pub(crate) fn ensure(&self, element: &gst::Element, device: Option<u32>) -> Result<Context> {
        let fits = |context: &Context| device.is_none_or(|device| context.ordinal() == device);
        if let Some(context) = self.get().filter(fits) {
            return Ok(context);
        }
        let library = library()?;
        let mut found = null_mut();
        let search = Search {
            of: self,
            found: &raw mut found,
            device: number(device),
        };
        let outer = SEARCH.replace(Some(search));
        // SAFETY: the element is borrowed, and GStreamer writes a reference to `found`, by itself or
        // through `set`, on this thread and during the call.
        unsafe {
            let element = element.to_glib_none().0;
            (library.functions.ensure_context)(element, search.device, search.found)
        };
        SEARCH.set(outer);
        if found.is_null() {
            return Err(failed("gst_cuda_ensure_element_context"));
        }
        // SAFETY: it is a `GstCudaContext`, and GStreamer gave its reference to the caller.
        let found = Context::of(library, unsafe { from_glib_full(found) });
        let mut context = self.lock();
        // Another thread may have set one meanwhile.
        let kept = context.take().filter(fits).unwrap_or(found);
        Ok(context.insert(kept).clone())
    }

    /// Takes the CUDA context out of a context that was set on the element (`set_context`), if it is
    /// of that device and there is none yet. Contexts of other types load nothing.
    pub(crate) fn set(&self, element: &gst::Element, context: &gst::Context, device: Option<u32>) {
        if context.context_type() != TYPE {
            return;
        }
        let Ok(library) = library() else { return };
        let take = |found: *mut *mut GstObject, device: c_int| {
            // SAFETY: both are borrowed. `found` is valid; null in it is replaced by a reference.
            unsafe {
                let (element, context) = (element.to_glib_none().0, context.to_glib_none().0);
                (library.functions.handle_set_context)(element, context, device, found)
            };
        };
        if let Some(search) = SEARCH.get().filter(|search| std::ptr::eq(search.of, self)) {
            return take(search.found, search.device);
        }
        if self.lock().is_some() {
            return;
        }
        let mut found = null_mut();
        take(&raw mut found, number(device));
        if !found.is_null() {
            // SAFETY: as in `ensure`.
            let found = Context::of(library, unsafe { from_glib_full(found) });
            self.lock().get_or_insert(found);
        }
    }

    /// Answers a query for a context. Returns whether it was one for a CUDA context, and there is one.
    pub(crate) fn answer(&self, element: &gst::Element, query: &mut gst::QueryRef) -> bool {
        if query.type_() != gst::QueryType::Context {
            return false;
        }
        let Some(context) = self.get() else {
            return false;
        };
        // SAFETY: all are borrowed, and the query is writable.
        unsafe {
            let element = element.to_glib_none().0;
            let answer = context.library.functions.handle_query;
            from_glib(answer(element, query.as_mut_ptr(), context.as_ptr()))
        }
    }
}

/// Returns the number that GStreamer takes for a device: -1 is any.
fn number(device: Option<u32>) -> c_int {
    device.map_or(-1, |device| c_int::try_from(device).unwrap_or(c_int::MAX))
}

#[cfg(test)]
mod tests {
    use xmem_core::{Channel, Publisher, Storage, Subscriber};

    use super::*;
    use crate::cuda::tests::{on_the_stand_in_with, until};
    use crate::cuda::{Rows, copy_rows};

    #[test]
    fn a_context_lives_until_its_work_is_done() {
        let name = "a_context_lives_until_its_work_is_done";
        let settings = [("FAKECUDA_MODE", "delay:300000")];
        on_the_stand_in_with(module_path!(), name, &settings, |_| {
            let directory = tempfile::tempdir().unwrap();
            let channel = || Channel::path(directory.path().join("gpu.sock"));
            let device = Device::get(0).unwrap();
            let publisher = Publisher::builder(channel()).storage(Storage::Cuda(device));
            let publisher = publisher.open().unwrap();
            let mut subscriber = Subscriber::builder(channel()).connect().unwrap();
            publisher.acquire(64).unwrap().publish().unwrap();
            let frame = subscriber.receive(None).unwrap();
            let slot = publisher.acquire(64).unwrap();
            // An element keeps its context, too.
            let element: gst::Element = gst::Bin::new().upcast();
            let context = ElementContext::default().ensure(&element, Some(0)).unwrap();
            drop(element);
            let object = context.object().downgrade();
            let rows = |address: Option<u64>| Rows {
                address: address.unwrap(),
                pitch: 64,
            };
            let (from, to) = (rows(frame.device_address()), rows(slot.device_address()));
            // SAFETY: both have 64 bytes, and are given back after the work.
            unsafe { copy_rows(&context, None, from, to, 64, 1) }.unwrap();
            frame.release_after(&context.all_work().unwrap()).unwrap();
            slot.discard_after(&context.all_work().unwrap()).unwrap();
            drop(context);
            assert!(object.upgrade().is_some(), "its work is not done");
            until("the lease ends", || publisher.stats().clients[0].held == 0);
            until("the slot is back", || publisher.stats().pending == 0);
            publisher.acquire(64).unwrap().publish().unwrap();
            subscriber.receive(None).unwrap();
            // Both keep events of the context, to record them again.
            assert!(object.upgrade().is_some());
            publisher.set_storage(Storage::Cpu).unwrap();
            drop(subscriber);
            until("nothing keeps the context", || object.upgrade().is_none());
        });
    }
}
