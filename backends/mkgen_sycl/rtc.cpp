// Compiles a SYCL file to SPIR-V by the public extension sycl_ext_oneapi_kernel_compiler:
//   rtc INPUT OUTPUT [OPTION...]
// The log goes to standard error. Exit status: 0 done, 1 the compiler refused the text, 2 no SYCL
// device or no single device image.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <sycl/sycl.hpp>
namespace exp_ = sycl::ext::oneapi::experimental;

int main(int argc, char** argv) try {
  std::ifstream file(argv[1]);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::vector<std::string> options(argv + 3, argv + argc);
  std::string log;
  // The extension compiles for a device. Intel's all take the same SPIR-V; PoCL, which may be
  // installed beside them, refuses it.
  const sycl::queue queue([](const sycl::device& device) {
    const auto platform = device.get_platform().get_info<sycl::info::platform::name>();
    return platform.find("Intel") == std::string::npos ? -1 : 1;
  });
  auto source = exp_::create_kernel_bundle_from_source(
      queue.get_context(), exp_::source_language::sycl, text);
  const auto bundle =
      exp_::build(source, exp_::properties{exp_::build_options{options}, exp_::save_log{&log}});
  std::fputs(log.c_str(), stderr);

  std::vector<std::vector<std::byte>> images;
  for (const auto& image : bundle) images.push_back(image.ext_oneapi_get_backend_content());
  if (images.size() != 1) {
    std::fprintf(stderr, "%zu device images, where one is needed\n", images.size());
    return 2;
  }
  std::ofstream(argv[2], std::ios::binary)
      .write(reinterpret_cast<const char*>(images[0].data()), images[0].size());
  return 0;
} catch (const sycl::exception& error) {
  std::fputs(error.what(), stderr);
  return error.code() == sycl::errc::build ? 1 : 2;
}
