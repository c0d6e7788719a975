// Scalar and vector arithmetic as nvcc writes it: library functions, intrinsics, packed types, vector loads.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

// Transpose through a padded tile of shared memory.
extern "C" __global__ void transpose(const float *x, float *y, int rows, int columns) {
    __shared__ float tile[32][33];
    int column = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 32 + threadIdx.y;
    for (int k = 0; k < 32; k += 8)
        if (row + k < rows && column < columns) tile[threadIdx.y + k][threadIdx.x] = x[(row + k) * columns + column];
    __syncthreads();
    column = blockIdx.y * 32 + threadIdx.x;
    row = blockIdx.x * 32 + threadIdx.y;
    for (int k = 0; k < 32; k += 8)
        if (row + k < columns && column < rows) y[(row + k) * rows + column] = tile[threadIdx.x][threadIdx.y + k];
}

extern "C" __global__ void library_functions(const float *x, const float *y, float *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float v = x[i], w = y[i];
    float *o = out + i * 10;
    o[0] = sinf(v) + cosf(w);
    o[1] = expf(v) * 0.25f;
    o[2] = logf(fabsf(v) + 0.1f);
    o[3] = powf(fabsf(v) + 0.5f, w);
    o[4] = sqrtf(fabsf(v)) / (w * w + 1.0f);
    o[5] = erff(v) + tanhf(w);
    o[6] = fmodf(v * 10.0f, fabsf(w) + 0.5f);
    o[7] = atan2f(v, w) + rsqrtf(fabsf(w) + 1.0f);
    o[8] = floorf(v) + ceilf(w) + rintf(v * 3.0f) + truncf(w * 5.0f);
    o[9] = fmaf(v, w, __fdividef(v, w * w + 1.0f)) + __expf(w) + __logf(fabsf(v) + 1.0f);
}

extern "C" __global__ void double_functions(const double *x, double *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double v = x[i];
    out[i * 4] = exp(v) / (1.0 + v * v);
    out[i * 4 + 1] = sin(v) * log(fabs(v) + 1.0);
    out[i * 4 + 2] = sqrt(fabs(v)) + cbrt(v);
    out[i * 4 + 3] = fma(v, v, 1.0 / (v * v + 2.0));
}

extern "C" __global__ void integer_operations(const int *x, const int *y, int *out, long long *wide) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    int v = x[i], w = y[i];
    unsigned a = (unsigned)v, b = (unsigned)w;
    int *o = out + i * 16;
    o[0] = v / w;
    o[1] = v % w;
    o[2] = (int)(a / b);
    o[3] = (int)(a % (b | 1u));
    o[4] = __mulhi(v, w);
    o[5] = (int)__umulhi(a, b);
    o[6] = __funnelshift_l(a, b, a & 63);
    o[7] = __funnelshift_r(a, b, b & 63);
    o[8] = __byte_perm(a, b, 0x5a17);
    o[9] = __dp4a(v, w, 100);
    o[10] = __sad(v, w, 5u);
    o[11] = __popc(a) + __clz(w) + __ffs(v);
    o[12] = (int)__brev(a);
    o[13] = (int)__vadd4(a, b);
    o[14] = min(max(v, -1000), 1000) + abs(w);
    o[15] = (short)v * (unsigned char)w + (signed char)(v >> 8);
    long long p = (long long)v * w;
    wide[i * 4] = p / (long long)(w | 3);
    wide[i * 4 + 1] = (long long)__umul64hi((unsigned long long)p, 0x123456789abcdefull);
    wide[i * 4 + 2] = __popcll((unsigned long long)p) + __clzll(p) + __ffsll(p);
    wide[i * 4 + 3] = (long long)((unsigned long long)p % 1000003ull) + (p >> 5) + (p << 3);
}

// Loads and stores of 16, 8, 4, 2 and 1 bytes, through the read-only path and with hints.
extern "C" __global__ void vector_loads(const float4 *x, const short2 *s, const uchar4 *b, float4 *y, short2 *t, uchar4 *c) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float4 v = __ldg(&x[i]);
    float4 w = __ldcs(&x[i ^ 1]);
    y[i] = make_float4(v.x + w.w, v.y - w.z, v.z * w.y, v.w + w.x);
    short2 p = __ldcg(&s[i]);
    __stcs(&t[i], make_short2(p.y, (short)(p.x + 1)));
    uchar4 q = b[i];
    c[i] = make_uchar4(q.w, q.z, q.y, (unsigned char)(q.x ^ 0xff));
}

extern "C" __global__ void packed_halves(const __half2 *x, const __half2 *y, __half2 *h, __nv_bfloat162 *b, float *f, unsigned *e) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    __half2 v = x[i], w = y[i];
    h[i] = __hfma2(v, w, __hmax2(v, w));
    float2 a = __half22float2(v), c = __half22float2(w);
    b[i] = __hadd2(__floats2bfloat162_rn(a.x, a.y), __hmul2(__floats2bfloat162_rn(c.x, c.y), __floats2bfloat162_rn(2.0f, 0.5f)));
    f[i] = __half2float(hexp2(__hmin(__low2half(v), __high2half(w)))) + __half2float(__habs(__low2half(w)));
    e[i] = __nv_cvt_float2_to_fp8x2(a, __NV_SATFINITE, __NV_E4M3) | ((unsigned)__nv_cvt_float2_to_fp8x2(c, __NV_SATFINITE, __NV_E5M2) << 16);
}
