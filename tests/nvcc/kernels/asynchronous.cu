// cuda::barrier, cuda::pipeline and bulk copies: data in flight while threads work.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cuda/barrier>
#include <cuda/pipeline>
#include <cuda/ptx>

namespace cg = cooperative_groups;
using block_barrier = cuda::barrier<cuda::thread_scope_block>;

// Tiles of `x` arrive through memcpy_async on a barrier; each is squared and written back.
extern "C" __global__ void barrier_copy(const float *x, float *y, int tiles) {
    __shared__ alignas(16) float tile[256];
    #pragma nv_diag_suppress static_var_with_dynamic_init
    __shared__ block_barrier arrived;
    cg::thread_block block = cg::this_thread_block();
    if (block.thread_rank() == 0) init(&arrived, block.size());
    block.sync();
    for (int t = blockIdx.x; t < tiles; t += gridDim.x) {
        cuda::memcpy_async(block, tile, x + t * 256, cuda::aligned_size_t<16>(sizeof(tile)), arrived);
        arrived.arrive_and_wait();
        for (int i = threadIdx.x; i < 256; i += blockDim.x) y[t * 256 + i] = tile[i] * tile[i];
        block.sync();
    }
}

// A pipeline of two stages: the next tile is fetched while this one is added up.
extern "C" __global__ void pipeline_sum(const int *x, int *sums, int tiles) {
    constexpr int stages = 2;
    __shared__ alignas(16) int ring[stages][128];
    #pragma nv_diag_suppress static_var_with_dynamic_init
    __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, stages> state;
    auto block = cg::this_thread_block();
    auto pipeline = cuda::make_pipeline(block, &state);
    int total = 0;
    for (int computed = 0, fetched = 0; computed < tiles; computed++) {
        for (; fetched < tiles && fetched < computed + stages; fetched++) {
            pipeline.producer_acquire();
            cuda::memcpy_async(block, ring[fetched % stages], x + (blockIdx.x * tiles + fetched) * 128,
                               cuda::aligned_size_t<16>(sizeof(int) * 128), pipeline);
            pipeline.producer_commit();
        }
        pipeline.consumer_wait();
        total += ring[computed % stages][threadIdx.x] * (computed + 1);
        pipeline.consumer_release();
    }
    sums[blockIdx.x * 128 + threadIdx.x] = total;
}

// Copies of single threads, waited for with the primitive interface.
extern "C" __global__ void primitive_copies(const int4 *x, int4 *y) {
    __shared__ int4 tile[64];
    __pipeline_memcpy_async(&tile[threadIdx.x], &x[blockIdx.x * 64 + threadIdx.x], sizeof(int4));
    __pipeline_commit();
    __pipeline_wait_prior(0);
    __syncthreads();
    int4 v = tile[63 - threadIdx.x];
    y[blockIdx.x * 64 + threadIdx.x] = make_int4(v.w, v.z, v.y, v.x);
}

// Bulk copies in and out through cuda::ptx, with the proxy fence between the generic writes and the copy out.
extern "C" __global__ void bulk_round_trip(const int *x, int *y) {
    using namespace cuda::ptx;
    __shared__ alignas(128) int tile[512];
    __shared__ alignas(8) uint64_t full;
    if (threadIdx.x == 0) {
        mbarrier_init(&full, 1);
        fence_mbarrier_init(sem_release, scope_cluster);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        cp_async_bulk(space_cluster, space_global, tile, x + blockIdx.x * 512, sizeof(tile), &full);
        mbarrier_arrive_expect_tx(sem_release, scope_cta, space_shared, &full, sizeof(tile));
    }
    while (!mbarrier_try_wait_parity(&full, 0)) {
    }
    for (int i = threadIdx.x; i < 512; i += blockDim.x) tile[i] = tile[i] * 3 + 1;
    fence_proxy_async(space_shared);
    __syncthreads();
    if (threadIdx.x == 0) {
        cp_async_bulk(space_global, space_shared, y + blockIdx.x * 512, tile, sizeof(tile));
        cp_async_bulk_commit_group();
        cp_async_bulk_wait_group_read(n32_t<0>{});
    }
}

// Producer warp and consumer warps with split arrive and wait on two barriers per stage.
extern "C" __global__ void producer_consumer(const float *x, float *out, int steps) {
    constexpr int stages = 2, width = 64;
    __shared__ float ring[stages][width];
    #pragma nv_diag_suppress static_var_with_dynamic_init
    __shared__ block_barrier filled[stages], drained[stages];
    if (threadIdx.x == 0)
        for (int s = 0; s < stages; s++) {
            init(&filled[s], blockDim.x);
            init(&drained[s], blockDim.x);
        }
    __syncthreads();
    if (threadIdx.x < 32) {
        for (int step = 0; step < steps; step++) {
            if (step >= stages) drained[step % stages].arrive_and_wait();
            for (int i = threadIdx.x; i < width; i += 32) ring[step % stages][i] = x[step * width + i];
            block_barrier::arrival_token ignored = filled[step % stages].arrive();
            (void)ignored;
        }
    } else {
        float sum = 0.0f;
        int i = threadIdx.x - 32;
        for (int step = 0; step < steps; step++) {
            filled[step % stages].arrive_and_wait();
            sum += ring[step % stages][i] * (i + 1);
            if (step + stages < steps) {
                block_barrier::arrival_token ignored = drained[step % stages].arrive();
                (void)ignored;
            }
        }
        out[i] = sum;
    }
}
