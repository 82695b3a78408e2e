# The collections that galaxy.yml depends on, where no galaxy server can be reached: PyPI's `ansible` package ships
# them. It is downloaded once, checked against its digest, and only the collections named here are unpacked, beside
# our own collection's link, where playbooks, ansible-lint and the tests look.
ANSIBLE_BUNDLE         := 12.3.0
ANSIBLE_BUNDLE_SHA256  := cd156f82fa87f7a899212b0efa9f7ca3a24d609212de9f78428a572eb01e5414
DEPENDENT_COLLECTIONS  := kubernetes/core community/general community/crypto ansible/posix
COLLECTIONS_KEY        := $(shell echo '$(ANSIBLE_BUNDLE_SHA256) $(DEPENDENT_COLLECTIONS)' | sha256sum | cut -c1-16)
COLLECTIONS_CACHE      := $(CACHE)/collections-$(COLLECTIONS_KEY)

.PHONY: collections
collections: setup ## kubernetes.core and the other collections that the plays use
	@mkdir -p $(CACHE); exec 9>$(CACHE)/collections.lock; flock 9; \
	if [ ! -e $(COLLECTIONS_CACHE)/.complete ]; then echo "fetching collections from ansible $(ANSIBLE_BUNDLE)"; \
	  rm -rf $(COLLECTIONS_CACHE); mkdir -p $(COLLECTIONS_CACHE)/wheel; \
	  $(PYTHON) -m pip download -q --disable-pip-version-check --no-deps -d $(COLLECTIONS_CACHE)/wheel ansible==$(ANSIBLE_BUNDLE); \
	  wheel=$$(echo $(COLLECTIONS_CACHE)/wheel/*.whl); echo "$(ANSIBLE_BUNDLE_SHA256)  $$wheel" | sha256sum --check --quiet; \
	  $(PYTHON) -c 'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); wanted = tuple(f"ansible_collections/{c}/" for c in sys.argv[3:]); z.extractall(sys.argv[2], [n for n in z.namelist() if n.startswith(wanted)])' \
	    $$wheel $(COLLECTIONS_CACHE) $(DEPENDENT_COLLECTIONS); \
	  rm -r $(COLLECTIONS_CACHE)/wheel; touch $(COLLECTIONS_CACHE)/.complete; fi
	@for c in $(DEPENDENT_COLLECTIONS); do mkdir -p $(BUILD)/collections/ansible_collections/$${c%/*}; \
	  ln -sfn $(COLLECTIONS_CACHE)/ansible_collections/$$c $(BUILD)/collections/ansible_collections/$$c; done
