# GoogleTest: the distribution's package if it is there, else a release archive of the project.
find_package(GTest QUIET)
if(NOT GTest_FOUND)
  set(archive ${CMAKE_BINARY_DIR}/googletest-1.15.2.tar.gz)
  if(NOT EXISTS ${archive})
    message(STATUS "GoogleTest: no package found, downloading a release")
    file(DOWNLOAD https://github.com/google/googletest/releases/download/v1.15.2/googletest-1.15.2.tar.gz ${archive}.part
         STATUS download_status)
    list(GET download_status 0 download_error)
    if(download_error)
      message(FATAL_ERROR "GoogleTest is neither installed nor could it be downloaded (${download_status}). Install it "
                          "(Debian, Ubuntu: apt-get install libgtest-dev), or configure with -DLAMINA_TESTS=OFF")
    endif()
    file(RENAME ${archive}.part ${archive})
  endif()
  include(FetchContent)
  set(INSTALL_GTEST OFF)
  set(BUILD_GMOCK OFF)
  FetchContent_Declare(googletest URL ${archive} DOWNLOAD_EXTRACT_TIMESTAMP ON
                       URL_HASH SHA256=7b42b4d6ed48810c5362c265a17faebe90dc2373c885e5216439d37927f02926)
  FetchContent_MakeAvailable(googletest)
  target_compile_options(gtest PRIVATE -w)
  target_compile_options(gtest_main PRIVATE -w)
endif()
