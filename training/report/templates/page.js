(() => {
  const menu = document.getElementById("menu");
  menu.addEventListener("click", (event) => event.target.closest("a") && menu.togglePopover?.(false));
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      menu.querySelector("[aria-current]")?.removeAttribute("aria-current");
      menu.querySelector(`a[href="#${target.id}"]`)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-12% 0px -80% 0px" });
  document.querySelectorAll("main > [id]").forEach((section) => seen.observe(section));
})();
