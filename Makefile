# Two commands for a newcomer: `make demo` and `make test`. Thin lines over cargo.
CARGO ?= cargo
export XDG_RUNTIME_DIR ?= /tmp

# A demo's page, by one binary for `make test-page`.
ECHOGRID ?= target/release/echogrid

.PHONY: demo test test-gdal test-page bench lint driver gdal

demo: driver
	$(CARGO) run --release -- demo

test: driver
	$(CARGO) test --release

# The built-in reader held against GDAL, and what GDAL reads besides.
test-gdal: gdal
	$(CARGO) test --release --features gdal --test gdal
	$(CARGO) test --release --features gdal --lib by_gdal

# The demo's page in headless Chromium: script, policy, width; screenshots lie beside it. Others: studies/page.py PAGE.html...
test-page: driver
	$(CARGO) build --release
	$(ECHOGRID) demo --out target/page --size 1024
	python3 studies/page.py target/page/report.html

bench: driver
	$(CARGO) run --release -- bench

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --release --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps

# A Vulkan driver is needed on Linux; where there is none, Mesa's software one (llvmpipe) will do.
driver:
	@if [ "$$(uname)" = Linux ] && ! ls /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json >/dev/null 2>&1 \
	    && [ -z "$$VK_DRIVER_FILES$$VK_ICD_FILENAMES" ]; then \
	  echo "no Vulkan driver found: installing Mesa's software one (mesa-vulkan-drivers)"; \
	  if [ "$$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi; \
	  $$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q libvulkan1 mesa-vulkan-drivers; \
	elif [ "$$(uname)" = Linux ] && ! ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1'; then \
	  echo "no Vulkan loader found: installing it (libvulkan1)"; \
	  if [ "$$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi; \
	  $$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q libvulkan1; \
	fi

# GDAL's library and headers, for the feature of that name.
gdal:
	@if ! pkg-config --exists gdal 2>/dev/null; then \
	  if [ "$$(uname)" != Linux ]; then echo "install GDAL with its headers (on macOS: brew install gdal)"; exit 1; fi; \
	  echo "no GDAL found: installing it (libgdal-dev)"; \
	  if [ "$$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi; \
	  $$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends libgdal-dev pkg-config; \
	fi
