// Kernels of products of matrices, with SIMD over channels.
#include "matrices.h"
#include "simd.h"

namespace equipot {
namespace EQUIPOT_ISA {
namespace {

constexpr double kRoot2 = 1.41421356237309504880, kRoot3 = 1.73205080756887729353;
constexpr double kRoot6 = 2.44948974278317809820;

// Symmetric part of a matrix, and the vector v of the antisymmetric one, whose product
// with a vector u is the cross product of v and u.
template <class S>
struct Matrix {
  Vector<S> xx, yy, zz, xy, xz, yz;
  Vector<S> x, y, z;
};

template <class S>
inline Vector<S> component(const S* from, int64_t stride, int n, double factor) {
  return static_cast<S>(factor) * load(from + n * stride);
}

template <class S>
inline __attribute__((always_inline)) Matrix<S> matrix(const S* from, int64_t stride) {
  const Vector<S> third = component(from, stride, 0, 1 / kRoot3);
  const Vector<S> along = component(from, stride, 6, 1 / kRoot6);
  const Vector<S> across = component(from, stride, 8, 1 / kRoot2);
  Matrix<S> m;
  m.xx = third - along - across;
  m.yy = third + (along + along);
  m.zz = third - along + across;
  m.xz = component(from, stride, 4, 1 / kRoot2);
  m.xy = component(from, stride, 5, 1 / kRoot2);
  m.yz = component(from, stride, 7, 1 / kRoot2);
  m.x = component(from, stride, 1, 1 / kRoot2);
  m.y = component(from, stride, 2, 1 / kRoot2);
  m.z = component(from, stride, 3, 1 / kRoot2);
  return m;
}

template <class S>
inline __attribute__((always_inline)) Matrix<S> transposed(Matrix<S> m) {
  m.x = -m.x, m.y = -m.y, m.z = -m.z;
  return m;
}

// a b + b a.
template <class S>
inline __attribute__((always_inline)) Matrix<S> product(const Matrix<S>& a,
                                                        const Matrix<S>& b) {
  const Vector<S> axy = a.xx + a.yy, axz = a.xx + a.zz, ayz = a.yy + a.zz;
  const Vector<S> bxy = b.xx + b.yy, bxz = b.xx + b.zz, byz = b.yy + b.zz;
  const Vector<S> x = a.x * b.x, y = a.y * b.y, z = a.z * b.z;
  const Vector<S> xy = a.xy * b.xy, xz = a.xz * b.xz, yz = a.yz * b.yz;
  Matrix<S> m;
  m.xx = a.xx * b.xx + xy + xz - y - z;
  m.yy = a.yy * b.yy + xy + yz - x - z;
  m.zz = a.zz * b.zz + xz + yz - x - y;
  m.xx += m.xx, m.yy += m.yy, m.zz += m.zz;
  m.xy = a.xy * bxy + b.xy * axy + a.xz * b.yz + b.xz * a.yz + a.x * b.y + a.y * b.x;
  m.xz = a.xz * bxz + b.xz * axz + a.xy * b.yz + b.xy * a.yz + a.x * b.z + a.z * b.x;
  m.yz = a.yz * byz + b.yz * ayz + a.xy * b.xz + b.xy * a.xz + a.y * b.z + a.z * b.y;
  m.x = ayz * b.x + byz * a.x - a.xy * b.y - b.xy * a.y - a.xz * b.z - b.xz * a.z;
  m.y = axz * b.y + bxz * a.y - a.xy * b.x - b.xy * a.x - a.yz * b.z - b.yz * a.z;
  m.z = axy * b.z + bxy * a.z - a.xz * b.x - b.xz * a.x - a.yz * b.y - b.yz * a.y;
  return m;
}

template <class S>
inline __attribute__((always_inline)) void put(Vector<S> value, S* to, bool add) {
  store(to, add ? load(to) + value : value);
}

template <class S>
inline __attribute__((always_inline)) void put(const Matrix<S>& m, S gain, S* to,
                                               int64_t stride, bool add) {
  const S by_root2 = gain * static_cast<S>(1 / kRoot2), root2 = gain * static_cast<S>(kRoot2);
  const S by_root3 = gain * static_cast<S>(1 / kRoot3);
  const S by_root6 = gain * static_cast<S>(1 / kRoot6);
  put<S>(by_root3 * (m.xx + m.yy + m.zz), to, add);
  put<S>(root2 * m.x, to + stride, add);
  put<S>(root2 * m.y, to + 2 * stride, add);
  put<S>(root2 * m.z, to + 3 * stride, add);
  put<S>(root2 * m.xz, to + 4 * stride, add);
  put<S>(root2 * m.xy, to + 5 * stride, add);
  put<S>(by_root6 * (m.yy + m.yy - m.xx - m.zz), to + 6 * stride, add);
  put<S>(root2 * m.yz, to + 7 * stride, add);
  put<S>(by_root2 * (m.zz - m.xx), to + 8 * stride, add);
}

}  // namespace

template <class S>
void matrix_product(S gain, const S* x, const S* y, int64_t channels, S* out, bool add) {
  for (int64_t c = 0; c < channels; c += kLanes<S>) {
    const Matrix<S> a = matrix(x + c, channels), b = matrix(y + c, channels);
    put(product(a, b), gain, out + c, channels, add);
  }
}

template <class S>
void differentiate_matrix_product(S gain, const S* x, const S* y, const S* bar,
                                  int64_t channels, S* x_bar, bool add_x, S* y_bar,
                                  bool add_y) {
  for (int64_t c = 0; c < channels; c += kLanes<S>) {
    const Matrix<S> of_out = matrix(bar + c, channels);
    const Matrix<S> a = matrix(x + c, channels), b = matrix(y + c, channels);
    put(product(of_out, transposed(b)), gain, x_bar + c, channels, add_x);
    put(product(of_out, transposed(a)), gain, y_bar + c, channels, add_y);
  }
}

#define EQUIPOT_INSTANTIATE(S)                                                             \
  template void matrix_product(S, const S*, const S*, int64_t, S*, bool);                  \
  template void differentiate_matrix_product(S, const S*, const S*, const S*, int64_t, S*, \
                                             bool, S*, bool);
EQUIPOT_INSTANTIATE(float)
EQUIPOT_INSTANTIATE(double)

}  // namespace EQUIPOT_ISA
}  // namespace equipot
