//! A CPU tensor's elements as a slice, so that loops of this crate can go over them.

use tch::{Device, Kind, Tensor};

/// A number type of weights or gradients, as it lies in memory.
pub(super) trait Element: Copy + Send + Sync {
    const KIND: Kind;
    fn load(self) -> f32;
}

impl Element for f32 {
    const KIND: Kind = Kind::Float;
    #[inline(always)]
    fn load(self) -> f32 {
        self
    }
}

/// bf16 by its bits; `half` treats NaN apart, which keeps loops from being vectorised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Bf16(pub(super) u16);

impl Element for Bf16 {
    const KIND: Kind = Kind::BFloat16;
    #[inline(always)]
    fn load(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

/// Whether [`slice`] can show `tensor`.
pub(super) fn visible(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu
        && tensor.is_contiguous()
        && matches!(tensor.kind(), Kind::Float | Kind::BFloat16)
}

fn start<T>(tensor: &Tensor, kind: Kind) -> *mut T {
    assert!(
        tensor.device() == Device::Cpu && tensor.is_contiguous() && tensor.kind() == kind,
        "a loop was given a tensor that is not its own"
    );
    if tensor.numel() == 0 {
        // libtorch gives none.
        return std::ptr::NonNull::dangling().as_ptr();
    }
    tensor.data_ptr().cast()
}

/// The elements of a tensor that lies in order on the CPU.
pub(super) fn slice<T: Element>(tensor: &Tensor) -> &[T] {
    // SAFETY: the tensor has `numel` elements of this type, in order, and is borrowed meanwhile.
    unsafe { std::slice::from_raw_parts(start(tensor, T::KIND), tensor.numel()) }
}

/// [`slice`], to write. Tensors share storage: the caller has no other slice of the same storage.
pub(super) fn slice_mut<T: Element>(tensor: &mut Tensor) -> &mut [T] {
    // SAFETY: as above; that nothing else reads or writes it meanwhile is the caller's part.
    unsafe { std::slice::from_raw_parts_mut(start(tensor, T::KIND), tensor.numel()) }
}

/// [`slice_mut`] of 8-bit codes.
pub(super) fn codes_mut(tensor: &mut Tensor) -> &mut [u8] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts_mut(start(tensor, Kind::Uint8), tensor.numel()) }
}
