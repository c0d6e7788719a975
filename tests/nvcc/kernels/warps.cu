// Threads of a warp among themselves, atomics of every kind, control flow that compilers turn into tables and calls.
#include <cuda/atomic>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdio.h>

// Shuffles, votes, matches and warp reductions, with full and partial masks.
extern "C" __global__ void warp_exchange(const int *x, int *out) {
    int lane = threadIdx.x & 31, i = blockIdx.x * blockDim.x + threadIdx.x;
    int v = x[i];
    int *o = out + i * 12;
    o[0] = __shfl_sync(0xffffffffu, v, lane ^ 5);
    o[1] = __shfl_up_sync(0xffffffffu, v, 3);
    o[2] = __shfl_down_sync(0xffffffffu, v, 2, 16);
    o[3] = __shfl_xor_sync(0xffffffffu, v, 9, 16);
    o[4] = __ballot_sync(0xffffffffu, v & 1);
    o[5] = __any_sync(0xffffffffu, v == 7) * 2 + __all_sync(0xffffffffu, v > -200);
    o[6] = __match_any_sync(0xffffffffu, v & 7);
    int same;
    o[7] = __match_all_sync(0xffffffffu, v >> 20, &same) + same;
    o[8] = __reduce_add_sync(0xffffffffu, v);
    o[9] = __reduce_max_sync(0xffffffffu, v) ^ __reduce_min_sync(0xffffffffu, v);
    o[10] = (int)__reduce_xor_sync(0xffffffffu, (unsigned)v);
    o[11] = 0;
    if (lane < 12) o[11] = __popc(__activemask()) + __reduce_add_sync(0x00000fffu, v) + __shfl_sync(0x00000fffu, v, 11);
    __syncwarp();
}

// Read-modify-write on every type and scope that has an instruction, and on two that need a loop of compare-and-swap.
extern "C" __global__ void all_atomics(const int *x, int *i32, unsigned *u32, unsigned long long *u64, float *f32, double *f64,
                                       __half2 *h2, __nv_bfloat162 *b2, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int v = x[i];
    atomicAdd(&i32[0], v);
    atomicSub(&i32[1], v);
    atomicMax(&i32[2], v);
    atomicMin(&i32[3], v);
    atomicAnd(&i32[4], v | 0xff);
    atomicOr(&i32[5], v);
    atomicXor(&i32[6], v);
    atomicAdd_block(&i32[8 + blockIdx.x], v);
    atomicInc(&u32[0], 10);
    atomicDec(&u32[1], 10);
    atomicMax(&u32[2], (unsigned)v);
    atomicAdd_system(&u32[3], 1u);
    atomicAdd(&u64[0], (unsigned long long)(long long)v);
    atomicMax(&u64[1], (unsigned long long)(v & 0xffff) << 40);
    atomicOr(&u64[2], 1ull << (v & 63));
    atomicAdd(&f32[0], (float)v);
    atomicAdd(&f64[0], (double)v * 0.5);
    atomicAdd(h2, __floats2half2_rn((float)(v & 1), 1.0f));
    atomicAdd(b2, __floats2bfloat162_rn(1.0f, (float)(v & 1)));
    int seen = *(volatile int *)&i32[7], assumed;
    do {
        assumed = seen;
        seen = atomicCAS(&i32[7], assumed, assumed + (v & 15) * 3);
    } while (seen != assumed);
    cuda::atomic_ref<int, cuda::thread_scope_device> shared_counter(i32[12]);
    shared_counter.fetch_add(v & 3, cuda::memory_order_relaxed);
    cuda::atomic_ref<unsigned, cuda::thread_scope_system> bits(u32[4]);
    bits.fetch_or(1u << (v & 31), cuda::memory_order_seq_cst);
    cuda::atomic_ref<float, cuda::thread_scope_device> most(f32[1]);
    most.fetch_max((float)v, cuda::memory_order_acq_rel);
}

// A ticket lock out of cuda::atomic_ref around plain memory.
extern "C" __global__ void ticket_lock(unsigned *tickets, int *plain) {
    if (threadIdx.x != 0) return;
    cuda::atomic_ref<unsigned, cuda::thread_scope_device> next(tickets[0]), serving(tickets[1]);
    unsigned mine = next.fetch_add(1, cuda::memory_order_relaxed);
    while (serving.load(cuda::memory_order_acquire) != mine) __nanosleep(20);
    plain[0] = plain[0] * 2 + 1;
    plain[1] += (int)mine;
    serving.store(mine + 1, cuda::memory_order_release);
}

__constant__ float coefficients[8] = {1.0f, -0.5f, 0.25f, 2.0f, -1.0f, 0.125f, 3.0f, 0.75f};
__constant__ int table[4][4] = {{1, 2, 3, 4}, {5, 6, 7, 8}, {9, 10, 11, 12}, {13, 14, 15, 16}};
__device__ int calls_made = 5;
__device__ float scratch_pad[64];

__device__ __noinline__ float horner(float v, int terms) {
    float r = 0.0f;
    for (int k = 0; k < terms; k++) r = r * v + coefficients[k];
    return r;
}

struct pair {
    float value;
    int index;
    short tag;
};

__device__ __noinline__ pair make_pair_of(float v, int i) {
    return pair{v * 2.0f, i + table[i & 3][(i >> 2) & 3], (short)(i * 3)};
}

// Calls with values and structures, constant memory, a module variable with an initial value.
extern "C" __global__ void calls_and_constants(const float *x, float *y, int *index, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    pair p = make_pair_of(x[i], i);
    y[i] = horner(p.value, 1 + (i & 7));
    index[i] = p.index + p.tag + calls_made;
}

// A switch wide enough for a branch table, and an array in local memory that is indexed by data.
extern "C" __global__ void switch_and_local(const int *x, int *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int stack[16], depth = 0, acc = i;
    for (int step = 0; step < 12; step++) {
        int v = x[i] >> (step * 2);
        switch ((v ^ step) & 15) {
        case 0: acc += 17; break;
        case 1: acc = acc * 3 - 1; break;
        case 2: acc ^= 0x55; break;
        case 3: stack[depth & 15] = acc; depth++; break;
        case 4: acc = depth > 0 ? stack[(depth - 1) & 15] + 1 : 9; break;
        case 5: acc = -acc; break;
        case 6: acc >>= 1; break;
        case 7: acc |= 8; break;
        case 8: acc = __popc(acc); break;
        case 9: stack[(acc & 7)] = step; if (depth < (acc & 7) + 1) { for (int k = depth; k < (acc & 7); k++) stack[k] = k; depth = (acc & 7) + 1; } break;
        case 10: acc = acc % 1000; break;
        case 11: acc = __clz(acc); break;
        case 12: acc += depth; break;
        case 13: acc = __brev(acc) >> 16; break;
        case 14: acc = acc & 0xffff; break;
        default: acc = acc * acc; break;
        }
    }
    int sum = acc;
    for (int k = 0; k < depth && k < 16; k++) sum = sum * 5 + stack[k];
    out[i] = sum;
}

// A branch through a table, which needs inline PTX: the compiler prefers chains of comparisons.
extern "C" __global__ void branch_table(const int *x, int *out) {
    int i = threadIdx.x, r;
    asm volatile("{\n"
                 ".reg .b32 which;\n"
                 "and.b32 which, %1, 3;\n"
                 "TARGETS: .branchtargets DOUBLE, FLIP, COUNT, KEEP;\n"
                 "brx.idx which, TARGETS;\n"
                 "DOUBLE: shl.b32 %0, %1, 1;\n"
                 "bra.uni END;\n"
                 "FLIP: not.b32 %0, %1;\n"
                 "bra.uni END;\n"
                 "COUNT: popc.b32 %0, %1;\n"
                 "bra.uni END;\n"
                 "KEEP: mov.b32 %0, %1;\n"
                 "END:\n"
                 "}"
                 : "=r"(r) : "r"(x[i]));
    out[i] = r;
}

// Functions through pointers: an indirect call with a prototype.
__device__ int twice(int v) { return v * 2; }
__device__ int square(int v) { return v * v; }
__device__ int negate(int v) { return -v; }
__device__ int (*const operations[3])(int) = {twice, square, negate};

extern "C" __global__ void indirect_calls(const int *x, int *out) {
    int i = threadIdx.x;
    out[i] = operations[(unsigned)x[i] % 3u](x[i]);
}

extern "C" __global__ void print_some(const int *x) {
    if (threadIdx.x < 2) printf("thread %d of block %d has %d, half is %.2f, %s\n", threadIdx.x, blockIdx.x, x[threadIdx.x], x[threadIdx.x] / 2.0, "done");
}

// Calls itself: what runs kernels within bounded memory must refuse or bound it.
__device__ __noinline__ int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

extern "C" __global__ void recursion(int *out) { out[threadIdx.x] = fibonacci(threadIdx.x); }
