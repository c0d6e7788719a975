// Tensor cores and tensor maps as CUDA C++ reaches them: WMMA fragments, inline PTX for wgmma, TMA and mma.sync.
#include <cuda.h>
#include <cuda_fp16.h>
#include <mma.h>
#include <stdint.h>

// One warp computes a 16 x 16 tile with fragments whose layout only the compiler knows.
extern "C" __global__ void wmma_tile(const half *a, const half *b, float *c, int k) {
    using namespace nvcuda::wmma;
    fragment<matrix_a, 16, 16, 16, half, row_major> left;
    fragment<matrix_b, 16, 16, 16, half, col_major> right;
    fragment<accumulator, 16, 16, 16, float> sum;
    fill_fragment(sum, 0.0f);
    for (int step = 0; step < k; step += 16) {
        load_matrix_sync(left, a + blockIdx.x * 16 * k + step, k);
        load_matrix_sync(right, b + blockIdx.y * 16 * k + step, k);
        mma_sync(sum, left, right, sum);
    }
    store_matrix_sync(c + blockIdx.x * 16 * (gridDim.y * 16) + blockIdx.y * 16, sum, gridDim.y * 16, mem_row_major);
}

__device__ uint32_t shared_address(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

// ldmatrix and mma.sync in inline PTX: 16 x 8 x 16 from tiles in shared memory.
extern "C" __global__ void ldmatrix_mma(const half *a, const half *b, float *c) {
    __shared__ alignas(16) half left[16 * 16], right[8 * 16];
    for (int i = threadIdx.x; i < 256; i += 32) left[i] = a[i];
    for (int i = threadIdx.x; i < 128; i += 32) right[i] = b[i];
    __syncwarp();
    uint32_t x[4], y[2];
    float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    int lane = threadIdx.x;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(shared_address(&left[(lane % 16) * 16 + (lane / 16) * 8])) : "memory");
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(y[0]), "=r"(y[1]) : "r"(shared_address(&right[(lane % 8) * 16 + ((lane / 8) % 2) * 8])) : "memory");
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
    int row = lane / 4, column = (lane % 4) * 2;
    c[row * 8 + column] = d[0];
    c[row * 8 + column + 1] = d[1];
    c[(row + 8) * 8 + column] = d[2];
    c[(row + 8) * 8 + column + 1] = d[3];
}

#ifdef HAS_TENSOR_MAP
// A box of a tensor map that the host built, doubled and written back through another.
extern "C" __global__ void tensor_map_copy(const __grid_constant__ CUtensorMap source, const __grid_constant__ CUtensorMap target) {
    __shared__ alignas(128) float box[16 * 32];
    __shared__ alignas(8) uint64_t full;
    uint32_t barrier = shared_address(&full), data = shared_address(box);
    int x = blockIdx.x * 32, y = blockIdx.y * 16;
    if (threadIdx.x == 0) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(barrier) : "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(16 * 32 * 4) : "memory");
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
                     ::"r"(data), "l"(&source), "r"(x), "r"(y), "r"(barrier) : "memory");
    }
    __syncthreads();
    asm volatile("{\n.reg .pred done;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], 0;\n@done bra FINISHED;\nbra AGAIN;\nFINISHED:\n}"
                 ::"r"(barrier) : "memory");
    for (int i = threadIdx.x; i < 16 * 32; i += blockDim.x) box[i] *= 2.0f;
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    if (threadIdx.x == 0) {
        asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];"
                     ::"l"(&target), "r"(x), "r"(y), "r"(data) : "memory");
        asm volatile("cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;" ::: "memory");
    }
}
#endif

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
// One warpgroup, 64 x 8 x 16, both operands from shared memory in 8 x 8 core matrices without swizzle.
extern "C" __global__ void wgmma_tile(const half *a, const half *b, float *c) {
    __shared__ alignas(128) half left[64 * 16], right[8 * 16];
    for (int i = threadIdx.x; i < 64 * 16; i += 128) {
        int row = i / 16, k = i % 16;
        left[(row / 8) * 128 + (k / 8) * 64 + (row % 8) * 8 + k % 8] = a[i];
    }
    {
        int n = threadIdx.x / 16, k = threadIdx.x % 16;
        right[(k / 8) * 64 + n * 8 + k % 8] = b[threadIdx.x];
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    // Address, leading offset (between core matrices along K) and stride offset (along M or N), in units of 16 bytes.
    auto describe = [](const half *p) { return (uint64_t)(shared_address(p) >> 4) | (uint64_t)(128 >> 4) << 16 | (uint64_t)(256 >> 4) << 32; };
    float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    asm volatile("wgmma.fence.sync.aligned;" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) :: "memory");
    asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0, %1, %2, %3}, %4, %5, 0, 1, 1, 0, 0;"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "l"(describe(left)), "l"(describe(right)));
    asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) :: "memory");
    int row = (threadIdx.x / 32) * 16 + (threadIdx.x % 32) / 4, column = (threadIdx.x % 4) * 2;
    c[row * 8 + column] = d[0];
    c[row * 8 + column + 1] = d[1];
    c[(row + 8) * 8 + column] = d[2];
    c[(row + 8) * 8 + column + 1] = d[3];
}
#endif
