// Providers with libraries of fake/ in place of NVIDIA's: what is offered to them, what they are called with, and why
// there may be none. The tests of the kernels run with them too (CMakeLists.txt).
#include "cuda/provider.h"

#include <dlfcn.h>

#include <filesystem>
#include <fstream>

#include "cuda/provider_cublaslt.h"
#include "cuda/provider_cudnn.h"
#include "cuda/provider_nvrtc.h"
#include "floats.h"

namespace lamina::cuda {
namespace {

using emulate::Buffer;

#define NEED_FAKES() \
  if (!std::getenv("LAMINA_CUBLASLT_PATH")) GTEST_SKIP() << "need the fake libraries that ctest names"

// A variable of the environment for a scope.
struct Variable {
  const char* name;
  std::optional<std::string> before;

  Variable(const char* name, const char* value) : name(name) {
    if (const char* old = std::getenv(name)) before = old;
    if (value)
      setenv(name, value, 1);
    else
      unsetenv(name);
  }
  ~Variable() {
    if (before)
      setenv(name, before->c_str(), 1);
    else
      unsetenv(name);
  }
};

int calls(const char* variable) {
  void* library = dlopen(std::getenv(variable), RTLD_NOW);
  return reinterpret_cast<int (*)()>(dlsym(library, "fake_calls"))();
}

TEST(Provider, Versions) {
  NEED_FAKES();
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"cublaslt", "13.1.0"}, {"cudnn", "9.10.2"}, {"nvrtc", "13.0"}};
  EXPECT_EQ(providers(), expected);
}

TEST(Provider, WhyAbsent) {
  {
    const Variable none("LAMINA_CUBLASLT_PATH", nullptr);
    EXPECT_EQ(CublasLt().why_absent, "the emulator has none; need LAMINA_CUBLASLT_PATH");
  }
  {
    const Variable wrong("LAMINA_CUDNN_PATH", "/none/libcudnn.so.9");
    const std::string why = Cudnn().why_absent;
    EXPECT_NE(why.find("LAMINA_CUDNN_PATH: /none/libcudnn.so.9: cannot open"), std::string::npos) << why;
  }
  {
    const Variable list("LAMINA_PROVIDERS", "none");
    EXPECT_EQ(CublasLt().why_absent, "turned off by LAMINA_PROVIDERS=none");
    EXPECT_EQ(Cudnn().why_absent, "turned off by LAMINA_PROVIDERS=none");
    EXPECT_EQ(Nvrtc().why_absent, "turned off by LAMINA_PROVIDERS=none");
  }
  NEED_FAKES();
  {
    const Variable another("LAMINA_CUBLASLT_PATH", std::getenv("LAMINA_CUDNN_PATH"));
    EXPECT_EQ(CublasLt().why_absent, "the library has no cublasLtGetVersion");
  }
  const Variable list("LAMINA_PROVIDERS", "nvrtc,cublaslt");
  EXPECT_TRUE(CublasLt().usable());
  EXPECT_EQ(Cudnn().why_absent, "turned off by LAMINA_PROVIDERS=nvrtc,cublaslt");
  EXPECT_TRUE(Nvrtc().usable());
}

// As beside site-packages/lamina/liblamina_cuda.so, so beside the directory of this program.
TEST(Provider, FoundInWheels) {
  NEED_FAKES();
  namespace fs = std::filesystem;
  const fs::path wheels = fs::canonical("/proc/self/exe").parent_path().parent_path() / "nvidia";
  const fs::path library = wheels / "cuda_nvrtc" / "lib" / "libnvrtc.so.12";
  fs::create_directories(library.parent_path());
  std::ofstream(library) << "not a library";
  const std::string stand_in = std::getenv("LAMINA_NVRTC_PATH");
  const Variable search("LAMINA_NVRTC_PATH", nullptr);
  const std::string why = Nvrtc().why_absent;  // unless the system has one
  EXPECT_TRUE(why.empty() || why.find("libnvrtc.so.12: file too short") != std::string::npos) << why;
  fs::remove(library);
  fs::create_symlink(stand_in, library);
  EXPECT_EQ(Nvrtc().version, "13.0");
  fs::remove_all(wheels);
}

// Row-major (128, 128) @ (128, 128): enough work to be offered.
struct Multiplication {
  Buffer<float> a{128 * 128}, b{128 * 128}, c{128 * 128}, bias{128};
  GemmProblem p;
  GemmEpilogue e;

  Multiplication() {
    p.m = p.n = p.k = p.a_row = p.b_row = p.c_row = 128;
    p.a = a.data(), p.b = b.data(), p.c = c.data();
  }
  bool offered() { return cublaslt_offer(Stream{}, p, e).has_value(); }
};

TEST(Provider, ProductsOffered) {
  NEED_FAKES();
  EXPECT_TRUE(Multiplication().offered());
  auto offered = [](auto change) {
    Multiplication m;
    change(m);
    return m.offered();
  };
  EXPECT_TRUE(offered([](auto& m) { m.e.bias = m.bias.data(); }));
  EXPECT_TRUE(offered([](auto& m) { m.p.c_row = 1, m.p.c_col = 128; }));
  EXPECT_TRUE(offered([](auto& m) { m.p.a_row = 1, m.p.a_col = 128; }));
  EXPECT_TRUE(offered([](auto& m) { m.p.batch = 3, m.p.c_batch = 16384; }));
  // What cuBLAS has no words for stays ours.
  EXPECT_FALSE(offered([](auto& m) { m.e.bias = m.bias.data(), m.e.bias_per_row = true; }));
  EXPECT_FALSE(offered([](auto& m) { m.e.relu = true; }));
  EXPECT_FALSE(offered([](auto& m) { m.p.a_col = 2; }));
  EXPECT_FALSE(offered([](auto& m) { m.p.a_row = 0; }));
  EXPECT_FALSE(offered([](auto& m) { m.p.a_row = 120; }));  // rows that overlap
  EXPECT_FALSE(offered([](auto& m) { m.p.k = 0; }));
  EXPECT_FALSE(offered([](auto& m) { m.p.k = 63; }));  // too little work to look for the faster
  const int64_t offsets[] = {0};
  EXPECT_FALSE(offered([&](auto& m) { m.p.a_offsets = offsets; }));
}

TEST(Provider, KeysTellProblemsApart) {
  NEED_FAKES();
  std::vector<std::string> keys;
  auto add = [&](auto change) {
    Multiplication m;
    change(m);
    keys.push_back(cublaslt_offer(Stream{}, m.p, m.e)->key);
  };
  add([](auto&) {});
  add([](auto& m) { m.e.bias = m.bias.data(); });
  add([](auto& m) { m.p.beta = 1; });
  add([](auto& m) { m.p.a_row = 129; });
  add([](auto& m) { m.p.a_row = 1, m.p.a_col = 128; });
  add([](auto& m) { m.p.dtype = DType::BF16; });
  add([](auto& m) { m.p.batch = 2, m.p.c_batch = 16384; });
  add([](auto& m) { m.p.a = m.a.data() + 1; });
  for (size_t i = 0; i < keys.size(); ++i)
    for (size_t j = 0; j < i; ++j) EXPECT_NE(keys[i], keys[j]);
  add([](auto& m) { m.p.alpha = 3; });  // that decides nothing
  EXPECT_EQ(keys.back(), keys.front());
}

// A product of enough work is timed once, on other memory: C is read by beta, and accumulates once.
TEST(Provider, TimingLeavesTheResultAlone) {
  NEED_FAKES();
  const int64_t m = 128, n = 128, k = 128;
  const auto a = random_floats<float>(m * k), b = random_floats<float>(k * n), c = random_floats<float>(m * n);
  GemmProblem p;
  p.m = m, p.n = n, p.k = k, p.beta = 1;
  p.a = a.data(), p.a_row = k, p.b = b.data(), p.b_row = n, p.c = c.data(), p.c_row = n;
  const auto wide_a = widened(a), wide_b = widened(b);
  auto expected = widened(c);
  GemmProblem q = p;
  q.dtype = DType::F64, q.a = wide_a.data(), q.b = wide_b.data(), q.c = expected.data();
  int before = calls("LAMINA_CUBLASLT_PATH"), after = 0;
  for (int i = 1; i <= 3; ++i) {
    kernel::gemm(Stream{}, q, {});
    cuda::gemm(Stream{}, p, {});
    expect_sums(c, expected, i * k);
    after = calls("LAMINA_CUBLASLT_PATH");
    if (i == 1)
      EXPECT_GE(after - before, 8);  // the first, and those that were timed
    else
      EXPECT_LE(after - before, 1);
    before = after;
  }
}

TEST(Provider, ErrorsNameTheCall) {
  NEED_FAKES();
  Multiplication m;
  m.p.b_batch = 8, m.p.a_batch = 8;
  auto offer = cublaslt_offer(Stream{}, m.p, m.e);
  m.p.c = m.c.data() + 1;  // less aligned than was said
  try {
    offer->run(m.p.c);
    FAIL() << "no error";
  } catch (const RuntimeError& e) {
    EXPECT_STREQ(e.what(), "cublaslt: cublasLtMatmul failed: CUBLAS_STATUS_INVALID_VALUE");
  }
}

ConvGeometry geometry() {
  ConvGeometry g;
  g.n = 2, g.c_in = 32, g.c_out = 48;
  for (int i : {1, 2}) g.in[i] = g.out[i] = 9, g.kernel[i] = 3, g.padding[i] = 1;
  return g;
}

TEST(Provider, ConvolutionsOffered) {
  NEED_FAKES();
  const Buffer<float> x(2 * 81 * 32), y(2 * 81 * 48), w(48 * 32 * 9);
  const ConvGeometry g = geometry();
  const ConvImage image{x.data(), 81 * 32, 1, {81 * 32, 288, 32}};
  auto offered = [&](const ConvGeometry& g, const ConvImage& image, const void* w) {
    return cudnn_offer(Stream{}, {ConvPass::Forward, DType::F32, g, image, {}, w, nullptr}).has_value();
  };
  EXPECT_TRUE(offered(g, image, w.data()));
  EXPECT_FALSE(offered(g, {x.data(), 81 * 32, 81, {81 * 32, 9, 1}}, w.data()));  // channels first
  EXPECT_FALSE(offered(g, {x.data() + 1, 81 * 32, 1, {81 * 32, 288, 32}}, w.data()));
  EXPECT_FALSE(offered(g, image, w.data() + 1));
  ConvGeometry odd = g;
  odd.out[1] = 10;  // one row of zeros more behind than before
  EXPECT_FALSE(offered(odd, image, w.data()));

  const auto offer = cudnn_offer(Stream{}, {ConvPass::Forward, DType::F32, g, image, {}, w.data(), nullptr});
  const int before = calls("LAMINA_CUDNN_PATH");
  EXPECT_TRUE(offer->run(y.data()));
  EXPECT_EQ(calls("LAMINA_CUDNN_PATH"), before + 1);
  EXPECT_EQ(offer->out_bytes, y.size() * sizeof(float));
}

TEST(Provider, NotSupportedStaysOurs) {
  NEED_FAKES();
  Multiplication m;
  m.e.bias = m.bias.data();
  m.p.dtype = DType::F64;
  EXPECT_FALSE(cublaslt_offer(Stream{}, m.p, m.e)->run(m.p.c));
  const Buffer<double> x(125 * 64), w(64 * 64 * 27), y(27 * 64);
  ConvGeometry g;
  g.c_in = g.c_out = 64;
  for (int i = 0; i < 3; ++i) g.in[i] = 5, g.out[i] = g.kernel[i] = 3;
  const ConvImage image{x.data(), 125 * 64, 1, {25 * 64, 5 * 64, 64}};
  EXPECT_FALSE(cudnn_offer(Stream{}, {ConvPass::Forward, DType::F64, g, image, {}, w.data(), nullptr})->run(y.data()));
}

constexpr const char* kSource = R"(extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; })";

void check_compiler(const Nvrtc& compiler) {
  const std::string cubin = compiler.compile_cubin(kSource, "twice.cu", "sm_90a");
  EXPECT_EQ(cubin.substr(0, 4),
            "\x7f"
            "ELF");
  EXPECT_NE(cubin.find("twice"), std::string::npos);
  try {
    compiler.compile_cubin("#error no", "kernel.cu", "sm_90a");
    FAIL() << "no error";
  } catch (const RuntimeError& e) {
    const std::string text = e.what();
    EXPECT_EQ(text.find("nvrtc: kernel.cu for sm_90a: NVRTC_ERROR_COMPILATION\nkernel.cu(1): "), 0u) << text;
    EXPECT_NE(text.find("#error directive"), std::string::npos) << text;
  }
}

TEST(Nvrtc, Fake) {
  NEED_FAKES();
  check_compiler(Nvrtc());
}

// NVIDIA's own needs no device; it is tested where it is installed.
TEST(Nvrtc, Real) {
  const Variable search("LAMINA_NVRTC_PATH", std::getenv("LAMINA_TEST_NVRTC"));
  const Nvrtc real;
  if (!real.usable()) GTEST_SKIP() << real.why_absent << " (LAMINA_TEST_NVRTC)";
  check_compiler(real);
}

TEST(Nvrtc, WithoutACompiler) {
  const Variable list("LAMINA_PROVIDERS", "");
  try {
    Nvrtc().compile_cubin(kSource, "twice.cu", "sm_90a");
    FAIL() << "no error";
  } catch (const RuntimeError& e) {
    EXPECT_STREQ(e.what(), "nvrtc: twice.cu cannot be compiled: turned off by LAMINA_PROVIDERS=");
  }
}

}  // namespace
}  // namespace lamina::cuda
