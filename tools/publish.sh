#!/usr/bin/env bash
# Push the rendered book as the one commit of the branch gh-pages: tools/publish.sh REMOTE [PAGES]
# The Colab buttons open the notebooks that lie on that branch under _sources/book/.
set -euo pipefail
remote="$1"
pages="${2:-_build/html}"
test -f "$pages/index.html" || { echo "$pages: no rendered book there; run make book first" >&2; exit 1; }
touch "$pages/.nojekyll" # GitHub Pages leaves out folders that begin with _ otherwise

store="$(mktemp -d)"
trap 'rm -rf "$store"' EXIT
page_git() { git -C "$pages" --git-dir="$store/.git" --work-tree=. "$@"; }
page_git init --quiet --initial-branch=gh-pages
page_git add --all --force .
page_git -c user.name="book" -c user.email="book@localhost" -c commit.gpgsign=false \
  commit --quiet --message "Book built from ${GITHUB_SHA:-the working tree}"
page_git push --quiet --force "$remote" gh-pages
