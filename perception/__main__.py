"""``python -m perception`` is ``perceive``."""

from perception.cli import main

if __name__ == "__main__":
    main()
