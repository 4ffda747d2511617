//! What C++ offers, as `cxx` states it; `cpp/groups.h` is the other side.
//!
//! libtorch's C API has nothing of its process groups, and their classes are C++ through and through, so this is
//! the one place of the workspace that speaks C++ types. No other module of this crate calls it unsafely.

use tch::Tensor;

#[cxx::bridge(namespace = "ranks")]
mod ffi {
    /// What a key holds.
    struct Value {
        bytes: Vec<u8>,
    }

    #[namespace = "at"]
    unsafe extern "C++" {
        type Tensor;
    }

    unsafe extern "C++" {
        include!("c10d/src/cpp/groups.h");

        type Store;
        type Backend;
        type Work;

        fn open_store(
            host: &str,
            port: u16,
            descriptor: i32,
            timeout: i64,
        ) -> Result<UniquePtr<Store>>;
        fn set(store: &Store, key: &str, value: &[u8]) -> Result<()>;
        fn add(store: &Store, key: &str, value: i64) -> Result<i64>;
        fn has(store: &Store, key: &str) -> Result<bool>;
        fn get(store: &Store, key: &str) -> Result<Vec<u8>>;
        fn get_all(store: &Store, keys: &Vec<String>) -> Result<Vec<Value>>;

        fn open_gloo(
            store: &Store,
            prefix: &str,
            rank: i32,
            world: i32,
            address: &str,
            interface: &str,
            timeout: i64,
        ) -> Result<UniquePtr<Backend>>;
        fn open_nccl(
            store: &Store,
            prefix: &str,
            rank: i32,
            world: i32,
            timeout: i64,
        ) -> Result<UniquePtr<Backend>>;

        unsafe fn all_reduce(
            group: &Backend,
            tensor: *const Tensor,
            op: u8,
        ) -> Result<UniquePtr<Work>>;
        unsafe fn all_to_all(
            group: &Backend,
            output: *const Tensor,
            input: *const Tensor,
        ) -> Result<UniquePtr<Work>>;
        unsafe fn reduce_scatter(
            group: &Backend,
            output: *const Tensor,
            input: *const Tensor,
        ) -> Result<UniquePtr<Work>>;
        unsafe fn all_gather(
            group: &Backend,
            output: *const Tensor,
            input: *const Tensor,
        ) -> Result<UniquePtr<Work>>;
        unsafe fn broadcast(
            group: &Backend,
            tensor: *const Tensor,
            from: i64,
        ) -> Result<UniquePtr<Work>>;

        fn wait_for(work: &Work, milliseconds: i64) -> Result<bool>;
    }
}

/// libtorch's own words about what failed.
pub(crate) type Failure = cxx::Exception;

fn raw(tensor: &Tensor) -> *const ffi::Tensor {
    // torch-sys's `C_tensor` is `at::Tensor` by another name.
    tensor.as_ptr().cast()
}

/// A connection to a `TCPStore`, and the store itself in the process that hosts it.
pub(crate) struct Store(cxx::UniquePtr<ffi::Store>);

// SAFETY: a TCPStore client guards its connection by a mutex of its own.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

impl Store {
    /// Hosts a store on a bound and listening socket, which it takes over, and connects to it.
    pub(crate) fn host(
        host: &str,
        port: u16,
        descriptor: i32,
        timeout: i64,
    ) -> Result<Store, Failure> {
        ffi::open_store(host, port, descriptor, timeout).map(Store)
    }

    /// Connects to a store; `timeout` is in milliseconds, as everywhere here.
    pub(crate) fn connect(host: &str, port: u16, timeout: i64) -> Result<Store, Failure> {
        ffi::open_store(host, port, -1, timeout).map(Store)
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), Failure> {
        ffi::set(&self.0, key, value)
    }

    /// Adds to a number and gives the sum.
    pub(crate) fn add(&self, key: &str, value: i64) -> Result<i64, Failure> {
        ffi::add(&self.0, key, value)
    }

    pub(crate) fn has(&self, key: &str) -> Result<bool, Failure> {
        ffi::has(&self.0, key)
    }

    /// What `key` holds; waits for it up to the store's timeout.
    pub(crate) fn get(&self, key: &str) -> Result<Vec<u8>, Failure> {
        ffi::get(&self.0, key)
    }

    /// What all of `keys` hold, in one exchange; they must be there.
    pub(crate) fn get_all(&self, keys: &Vec<String>) -> Result<Vec<Vec<u8>>, Failure> {
        let values = ffi::get_all(&self.0, keys)?;
        Ok(values.into_iter().map(|value| value.bytes).collect())
    }
}

/// A process group: Gloo's or NCCL's.
pub(crate) struct Backend(cxx::UniquePtr<ffi::Backend>);

// SAFETY: a process group is used by one thread at a time, whichever; `Group` holds it behind a mutex.
unsafe impl Send for Backend {}

impl Backend {
    pub(crate) fn gloo(
        store: &Store,
        prefix: &str,
        rank: i32,
        world: i32,
        address: &str,
        interface: &str,
        timeout: i64,
    ) -> Result<Backend, Failure> {
        ffi::open_gloo(&store.0, prefix, rank, world, address, interface, timeout).map(Backend)
    }

    pub(crate) fn nccl(
        store: &Store,
        prefix: &str,
        rank: i32,
        world: i32,
        timeout: i64,
    ) -> Result<Backend, Failure> {
        ffi::open_nccl(&store.0, prefix, rank, world, timeout).map(Backend)
    }

    /// `op`: 0 for sums, 1 for the least, 2 for the largest.
    pub(crate) fn all_reduce(&self, tensor: &Tensor, op: u8) -> Result<Work, Failure> {
        // SAFETY: the pointer is to a live tensor, of which the work takes its own reference.
        unsafe { ffi::all_reduce(&self.0, raw(tensor), op) }.map(Work)
    }

    /// Part `r` of each rank's `input` goes to rank `r`, which has them in its `output` by rank.
    pub(crate) fn all_to_all(&self, output: &Tensor, input: &Tensor) -> Result<Work, Failure> {
        // SAFETY: as in `all_reduce`.
        unsafe { ffi::all_to_all(&self.0, raw(output), raw(input)) }.map(Work)
    }

    pub(crate) fn reduce_scatter(&self, output: &Tensor, input: &Tensor) -> Result<Work, Failure> {
        // SAFETY: as in `all_reduce`.
        unsafe { ffi::reduce_scatter(&self.0, raw(output), raw(input)) }.map(Work)
    }

    pub(crate) fn all_gather(&self, output: &Tensor, input: &Tensor) -> Result<Work, Failure> {
        // SAFETY: as in `all_reduce`.
        unsafe { ffi::all_gather(&self.0, raw(output), raw(input)) }.map(Work)
    }

    pub(crate) fn broadcast(&self, tensor: &Tensor, from: i64) -> Result<Work, Failure> {
        // SAFETY: as in `all_reduce`.
        unsafe { ffi::broadcast(&self.0, raw(tensor), from) }.map(Work)
    }
}

/// A collective that libtorch's threads work at.
pub(crate) struct Work(cxx::UniquePtr<ffi::Work>);

// SAFETY: a Work guards its state by a mutex of its own.
unsafe impl Send for Work {}

impl Work {
    /// Whether it is done, within `milliseconds`.
    pub(crate) fn wait_for(&self, milliseconds: i64) -> Result<bool, Failure> {
        ffi::wait_for(&self.0, milliseconds)
    }
}
