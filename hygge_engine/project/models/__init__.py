"""What a project is: settings that describe, validated and unchangeable."""
