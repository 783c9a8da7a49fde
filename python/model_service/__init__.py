"""What a model package imports: the base classes and the logger (contract: the guide's chapter 4.1.3)."""
