// CUDA's built-in vector types with their sizes and alignments, for the host compiler.
#pragma once

struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

#define LM_VECTOR2(NAME, T)            \
  struct alignas(2 * sizeof(T)) NAME { \
    T x, y;                            \
  };                                   \
  inline NAME make_##NAME(T x, T y) { return {x, y}; }
#define LM_VECTOR4(NAME, T, ALIGN) \
  struct alignas(ALIGN) NAME {     \
    T x, y, z, w;                  \
  };                               \
  inline NAME make_##NAME(T x, T y, T z, T w) { return {x, y, z, w}; }
LM_VECTOR2(float2, float)
LM_VECTOR2(int2, int)
LM_VECTOR2(uint2, unsigned)
LM_VECTOR2(double2, double)
LM_VECTOR2(longlong2, long long)
LM_VECTOR2(ulonglong2, unsigned long long)
LM_VECTOR2(short2, short)
LM_VECTOR2(ushort2, unsigned short)
LM_VECTOR2(char2, signed char)
LM_VECTOR2(uchar2, unsigned char)
LM_VECTOR4(float4, float, 16)
LM_VECTOR4(int4, int, 16)
LM_VECTOR4(uint4, unsigned, 16)
LM_VECTOR4(short4, short, 8)
LM_VECTOR4(ushort4, unsigned short, 8)
LM_VECTOR4(char4, signed char, 4)
LM_VECTOR4(uchar4, unsigned char, 4)
#undef LM_VECTOR2
#undef LM_VECTOR4
